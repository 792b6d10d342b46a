// board HOST:PORT: a board of posts for one session at a time.
// board post GATEWAY TEXT: adds a post to the board of $TOKEN (client.go).
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"board/pb"
)

type board struct {
	mu      sync.Mutex
	posts   []string
	changed chan struct{} // closed with the next post
}

func (b *board) add(text string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posts = append(b.posts, fmt.Sprintf("%d: %s", len(b.posts)+1, text))
	close(b.changed)
	b.changed = make(chan struct{})
	return b.posts[len(b.posts)-1]
}

// since returns the posts from number n on, and what is closed with the next.
func (b *board) since(n int) ([]string, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.posts[n:], b.changed
}

func current(ctx context.Context) *board {
	return Current(ctx).Data.(*board)
}

type server struct {
	pb.UnimplementedBoardServer
}

func (server) Add(ctx context.Context, in *pb.Post) (*pb.Post, error) {
	return &pb.Post{Text: current(ctx).add(in.Text)}, nil
}

func (server) Follow(_ *pb.Post, out pb.Board_FollowServer) error {
	b := current(out.Context())
	posts, changed := b.since(0)
	seen := len(posts)
	err := out.Send(&pb.Post{Text: fmt.Sprintf("%d posts", seen)})
	for err == nil {
		select {
		case <-changed:
		case <-out.Context().Done():
			return status.FromContextError(out.Context().Err()).Err()
		}
		posts, changed = b.since(seen)
		for _, post := range posts {
			seen++
			if err = out.Send(&pb.Post{Text: post}); err != nil {
				break
			}
		}
	}
	return err
}

func (server) Chat(both pb.Board_ChatServer) error {
	b := current(both.Context())
	for {
		in, err := both.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err = both.Send(&pb.Post{Text: b.add(in.Text)}); err != nil {
			return err
		}
	}
}

func (server) Leave(ctx context.Context, _ *pb.Post) (*pb.Post, error) {
	Current(ctx).Release(ctx)
	return &pb.Post{Text: "bye"}, nil
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "post" {
		post(os.Args[2], os.Getenv("TOKEN"), os.Args[3])
		return
	}
	if len(os.Args) != 2 {
		log.Fatal("usage: board HOST:PORT | board post GATEWAY TEXT")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}

	sessions := NewSessions()
	sessions.Begin = func(s *Session) {
		s.Data = &board{changed: make(chan struct{})}
	}
	if grace, err := strconv.Atoi(os.Getenv("GRACE")); err == nil {
		sessions.Grace = time.Duration(grace) * time.Second
	}

	s := grpc.NewServer(sessions.Options()...)
	pb.RegisterBoardServer(s, server{})
	if err := sessions.Serve(s, listener); err != nil {
		log.Fatal(err)
	}
}
