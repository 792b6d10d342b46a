// The gateway as a Go client sees it (google.golang.org/grpc).
//
// GATEWAY_ADDR is the gateway of three fresh instances; STACK, if set, the
// script that can kill an instance, and then there are four. The steps are the
// same as in client.py and client.js. Prints TAP.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"mygateway/compat/pb"
)

const (
	service = "/my_service.MyServiceAPI/"
	timeout = 60 * time.Second
	value   = "h\u00e9llo"
)

var (
	gateway  = env("GATEWAY_ADDR", "localhost:10000")
	username = env("TEST_USERNAME", "TestUser")
	password = env("TEST_PASSWORD", "TestPassword")
	stack    = os.Getenv("STACK")

	checks, failed int
)

type keys map[string]string

// A session with a connection of its own.
type client struct {
	session, token, pod string
	conn                *grpc.ClientConn
}

// What came with the status: where it stands in the stream decides where it
// is found.
type answer struct {
	err      error
	trailers metadata.MD
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func check(holds bool, format string, args ...any) bool {
	checks++
	word := "ok - "
	if !holds {
		failed++
		word = "not ok - "
	}
	fmt.Printf(word+format+"\n", args...)
	return holds
}

func equal(text string, got, want any) bool {
	g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if g == w {
		return check(true, "%s: got %s", text, g)
	}
	return check(false, "%s: got %s, want %s", text, g, w)
}

func stop(format string, args ...any) {
	check(false, format, args...)
	os.Exit(1)
}

func open(label string) *client {
	conn, err := grpc.NewClient(gateway,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		stop("%s: %v", label, err)
	}
	return &client{
		session: fmt.Sprintf("compat-go-%s-%d", label,
			time.Now().UnixNano()),
		conn: conn,
	}
}

func (c *client) own() keys {
	return keys{"authorization": c.token, "session-id": c.session}
}

func (c *client) unary(method string, with keys, in,
	out proto.Message) answer {

	var a answer
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	a.err = c.conn.Invoke(metadata.NewOutgoingContext(ctx,
		metadata.New(with)), service+method, in, out,
		grpc.Trailer(&a.trailers))
	return a
}

func (c *client) login(name, secret string) (*pb.LoginResponse, answer) {
	out := &pb.LoginResponse{}
	return out, c.unary("Login", nil, &pb.LoginRequest{Username: name,
		Password: secret, SessionId: c.session}, out)
}

func (c *client) echo(with keys) (*pb.EchoResponse, answer) {
	out := &pb.EchoResponse{}
	return out, c.unary("MyServiceEcho", with,
		&pb.EchoRequest{Value: value}, out)
}

func (c *client) shutdown() (*pb.ShutdownResponse, answer) {
	out := &pb.ShutdownResponse{}
	return out, c.unary("MyServiceShutdown", c.own(),
		&pb.ShutdownRequest{}, out)
}

func (c *client) subscribe(limit time.Duration, with keys) (
	grpc.ClientStream, context.CancelFunc) {

	ctx, cancel := context.WithTimeout(context.Background(), limit)
	stream, err := c.conn.NewStream(metadata.NewOutgoingContext(ctx,
		metadata.New(with)), &grpc.StreamDesc{ServerStreams: true},
		service+"MyServiceSubscribe")
	if err == nil {
		err = stream.SendMsg(&pb.EchoRequest{Value: value})
	}
	if err == nil || err == io.EOF {
		err = stream.CloseSend()
	}
	if err != nil {
		stop("cannot begin a stream: %v", err)
	}
	return stream, cancel
}

func next(stream grpc.ClientStream) (*pb.EchoResponse, error) {
	out := &pb.EchoResponse{}
	return out, stream.RecvMsg(out)
}

func good(text string, a answer) bool {
	return equal(text, status.Code(a.err), codes.OK)
}

func refused(text string, a answer, code codes.Code, message string) {
	s := status.Convert(a.err)
	equal(text, []any{s.Code(), s.Message()}, []any{code, message})
	check(a.trailers != nil, "%s: trailers %v", text, a.trailers)
}

func signIn(label string) *client {
	c := open(label)
	out, a := c.login(username, password)
	if !good(label+": Login", a) {
		os.Exit(1)
	}
	check(out.Token != "" && out.Role != "" &&
		out.ExpiresAt.AsTime().After(time.Now()),
		"%s: token, role %s, expires_at %v", label, out.Role,
		out.ExpiresAt.AsTime())
	c.token = out.Token
	return c
}

func fields(text string, c *client, m *pb.EchoResponse, method string,
	index int32, pod string) bool {

	c.pod = m.PodName
	if pod == "" {
		pod = m.PodName
	}
	return equal(text,
		[]any{m.ClientValue, m.ServerValue, m.ServerSessionId,
			m.ClientSessionId, m.Index, m.ServerMethod, m.PodName},
		[]any{value, "my_service", c.session, c.session, index, method,
			pod})
}

func echo(text string, c *client, with keys, pod string) {
	out, a := c.echo(with)
	if good(text, a) {
		fields(text, c, out, "MyServiceEcho", 0, pod)
	}
}

func message(c *client, stream grpc.ClientStream, index int32, pod string) {
	text := fmt.Sprintf("stream: message %d", index)
	m, err := next(stream)
	if check(err == nil, "%s: %v", text, err) {
		fields(text, c, m, "MyServiceSubscribe", index, pod)
	}
}

func loginErrors() {
	c := open("login")
	_, a := c.login("", password)
	refused("Login without a username", a, codes.InvalidArgument,
		"username is required")
	_, a = c.login(username, "wrong")
	refused("Login with a wrong password", a, codes.PermissionDenied,
		"invalid username or password")
	_, a = c.login("nobody", password)
	refused("Login of an unknown user", a, codes.PermissionDenied,
		"invalid username or password")
}

func refusals(c *client) {
	const invalid = "missing or invalid token"
	for _, one := range []struct {
		text    string
		with    keys
		message string
	}{
		{"neither header", nil, "missing session-id"},
		{"token only", keys{"authorization": c.token},
			"missing session-id"},
		{"session-id only", keys{"session-id": c.session}, invalid},
		{"malformed token", keys{"session-id": c.session,
			"authorization": "a.b.c"}, invalid},
		{"other session-id", keys{"session-id": "other",
			"authorization": c.token}, "session-id mismatch"},
	} {
		_, a := c.echo(one.with)
		refused(one.text+": Echo", a, codes.Unauthenticated, one.message)

		stream, cancel := c.subscribe(timeout, one.with)
		_, err := next(stream)
		refused(one.text+": Subscribe", answer{err, stream.Trailer()},
			codes.Unauthenticated, one.message)
		cancel()
	}

	a := c.unary("NoSuchMethod", c.own(), &pb.EchoRequest{},
		&pb.EchoResponse{})
	refused("unknown method", a, codes.Unimplemented, "method not routed")
	_, a = c.shutdown()
	refused("Shutdown before any call", a, codes.PermissionDenied,
		"Server session is not set")
}

func calls(c *client) {
	echo("Echo 1 of 10", c, c.own(), "")
	for n := 2; n <= 10; n++ {
		echo(fmt.Sprintf("Echo %d of 10", n), c, c.own(), c.pod)
	}
	echo("Echo with Bearer", c, keys{"session-id": c.session,
		"authorization": "Bearer " + c.token}, c.pod)
}

func streams(c *client) {
	pod := c.pod
	stream, cancel := c.subscribe(time.Hour, c.own())
	for index := int32(0); index < 3; index++ {
		message(c, stream, index, pod)
	}

	var group sync.WaitGroup
	pods := make([]string, 20)
	for i := range pods {
		group.Add(1)
		go func() {
			defer group.Done()
			out, _ := c.echo(c.own())
			pods[i] = out.PodName
		}()
	}
	group.Wait()
	equal("twenty Echo at once beside the stream",
		strings.Join(pods, " "), strings.TrimSpace(
			strings.Repeat(pod+" ", len(pods))))

	cancel()
	_, err := next(stream)
	for err == nil {
		_, err = next(stream)
	}
	equal("stream: cancelled", status.Code(err), codes.Canceled)
	echo("Echo after the cancel", c, c.own(), pod)

	stream, cancel = c.subscribe(time.Second, c.own())
	defer cancel()
	for index := int32(0); ; index++ {
		m, err := next(stream)
		if err != nil {
			equal("stream: deadline", status.Code(err),
				codes.DeadlineExceeded)
			break
		}
		fields("stream with a deadline", c, m, "MyServiceSubscribe",
			index, pod)
	}
	echo("Echo after the deadline", c, c.own(), pod)
}

func kill(c *client) {
	parts := strings.Split(c.pod, "-")
	command := exec.Command(stack, "kill", parts[len(parts)-1])
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		stop("kill of %s: %v", c.pod, err)
	}
}

func killed(c *client) {
	old := c.pod
	stream, cancel := c.subscribe(time.Hour, c.own())
	defer cancel()
	message(c, stream, 0, old)
	kill(c)
	m, err := next(stream)
	for index := int32(1); err == nil && m.PodName == old; index++ {
		fields("stream: sent before the kill", c, m,
			"MyServiceSubscribe", index, old)
		m, err = next(stream)
	}
	check(err == nil, "stream: goes on without an error: %v", err)
	fields("stream: goes on from another instance", c, m,
		"MyServiceSubscribe", 0, "")
	check(c.pod != old, "was %s, is %s", old, c.pod)
	message(c, stream, 1, c.pod)
	cancel()
	echo("Echo on the new instance", c, c.own(), c.pod)
}

func busy(c *client) []*client {
	others := []*client{signIn("second"), signIn("third")}
	for _, other := range others {
		echo("Echo of another session", other, other.own(), "")
	}
	last := signIn("last")
	_, a := last.echo(last.own())
	refused("no instance is free", a, codes.ResourceExhausted,
		"all instances are busy")

	out, a := c.shutdown()
	if good("Shutdown", a) {
		equal("Shutdown", []any{out.PodName, out.ServerSessionId,
			out.ClientSessionId, out.Index, out.ServerMethod},
			[]any{c.pod, c.session, c.session, 0,
				"MyServiceShutdown"})
	}
	_, a = c.echo(c.own())
	refused("Echo after Shutdown", a, codes.ResourceExhausted,
		"all instances are busy")
	return others
}

func unavailable(others []*client) {
	c := others[0]
	_, a := others[1].shutdown()
	good("Shutdown of another session", a)
	stream, cancel := c.subscribe(time.Hour, c.own())
	defer cancel()
	message(c, stream, 0, c.pod)
	kill(c)
	for index := int32(1); ; index++ {
		m, err := next(stream)
		if err != nil {
			refused("stream: the last instance is killed",
				answer{err, stream.Trailer()},
				codes.Unavailable, "backend service unavailable")
			break
		}
		fields("stream: sent before the kill", c, m,
			"MyServiceSubscribe", index, "")
	}
	_, a = c.echo(c.own())
	refused("Echo without instances", a, codes.Unavailable,
		"backend service unavailable")
}

func main() {
	fmt.Printf("# grpc-go %s, gateway %s\n", grpc.Version, gateway)
	loginErrors()
	c := signIn("first")
	refusals(c)
	calls(c)
	streams(c)
	if stack != "" {
		killed(c)
	} else {
		check(true, "instances killed # SKIP the stack cannot be stopped from here")
	}
	others := busy(c)
	if stack != "" {
		unavailable(others)
	}
	fmt.Printf("1..%d\n", checks)
	if failed > 0 {
		os.Exit(1)
	}
}
