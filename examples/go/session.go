// One session per process, for gRPC services in Go.
//
// Copy this file. It meets levels 1 to 3 of the contract between gateway and
// instance (docs/backend.md), so that a service only asks whose session it
// serves:
//
//	sessions := NewSessions()
//	sessions.Begin = func(s *Session) { s.Data = ... }
//	server := grpc.NewServer(sessions.Options()...)
//	pb.RegisterMyServer(server, ...)
//	err := sessions.Serve(server, listener) // until SIGTERM has drained it
//
//	func (*my) Method(ctx context.Context, ...) {
//		session := Current(ctx) // .ID .Subject .Moved .Left() .Data
//		...
//		session.Release(ctx) // in the method that ends it
//	}
//
// A call counts until its method has returned: a method that starts goroutines
// waits for them, also when its context is done.

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Session is what a method serves.
type Session struct {
	ID      string
	Subject string // whose it is, as the gateway says
	Moved   bool   // it may have state at another instance
	Data    any    // the service's; set by Begin, gone with the session

	all      *Sessions // guards what follows
	ttl      time.Duration
	ends     time.Time // at the latest, unless a call is running
	used     time.Time
	calls    map[*call]bool
	released bool
	over     chan struct{}
}

type call struct {
	session *Session
	stream  bool
	cancel  context.CancelFunc
	ended   chan struct{} // closed: by us, not by the client
}

type callKey struct{}

// Current is the session of the call that asks.
func Current(ctx context.Context) *Session {
	return ctx.Value(callKey{}).(*call).session
}

// Left is the time until the session ends if no other call comes.
func (s *Session) Left() time.Duration {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	return s.left()
}

func (s *Session) left() time.Duration {
	now := time.Now()
	end := s.used.Add(s.ttl)
	if len(s.calls) > 0 {
		end = now.Add(s.ttl)
	}
	if !s.ends.IsZero() && s.ends.Before(end) {
		end = s.ends
	}
	if end.Before(now) {
		return 0
	}
	return end.Sub(now)
}

// Release ends the session with this call; its other calls are cancelled.
func (s *Session) Release(ctx context.Context) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.released {
		return
	}
	s.released = true
	for c := range s.calls {
		if c != ctx.Value(callKey{}).(*call) {
			c.end()
		}
	}
}

func (c *call) isEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *call) end() {
	if !c.isEnded() {
		close(c.ended)
		c.cancel()
	}
}

// Sessions has the one session of this process, or none.
type Sessions struct {
	TTL   time.Duration // where the gateway sends none
	Grace time.Duration // for the session after SIGTERM

	// A session begins, and is over. No call of any session runs meanwhile,
	// nor may they call methods of Session.
	Begin func(*Session)
	End   func(*Session)

	instance string
	mu       sync.Mutex
	session  *Session
	epoch    uint64 // the highest that was accepted, of whatever session
	timer    *time.Timer
	draining bool
	leaving  bool
}

// NewSessions may be changed before it serves.
func NewSessions() *Sessions {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		panic(err)
	}
	return &Sessions{TTL: 30 * time.Minute, Grace: 30 * time.Second,
		Begin: func(*Session) {}, End: func(*Session) {},
		instance: hex.EncodeToString(id)}
}

// Options are for grpc.NewServer.
func (s *Sessions) Options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream)}
}

// Serve returns when the process is to exit.
func (s *Sessions) Serve(server *grpc.Server, listener net.Listener) error {
	healthpb.RegisterHealthServer(server, &health{sessions: s})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-signals:
	}
	signal.Reset() // the second one ends the process at once

	s.mu.Lock()
	s.draining = true
	session := s.session
	s.mu.Unlock()
	if session != nil {
		select {
		case <-session.over:
		case <-time.After(s.Grace):
		}
	}

	s.mu.Lock()
	s.leaving = true
	if s.session != nil {
		for c := range s.session.calls {
			if c.stream {
				c.end()
			}
		}
	}
	s.expire()
	s.mu.Unlock()
	// new calls are told that we leave, for a moment; those of one answer may
	// finish
	time.Sleep(200 * time.Millisecond)
	timer := time.AfterFunc(5*time.Second, server.Stop)
	server.GracefulStop()
	timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}

// a call

// The gateway's checks and tools that ask for the API have no session.
func exempt(method string) bool {
	return len(method) > 6 && method[:6] == "/grpc."
}

func (s *Sessions) unary(ctx context.Context, request any,
	info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if exempt(info.FullMethod) {
		return handler(ctx, request)
	}
	ctx, c, err := s.enter(ctx, false)
	if err != nil {
		return nil, err
	}
	defer s.leave(c)
	answer, err := handler(ctx, request)
	if err != nil && c.isEnded() {
		err = status.Error(codes.Aborted, "session released")
	}
	return answer, err
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// A method that waits for a message of its client does not see that its context
// is done: the call ends without it, and then it gets an error.
func (s *Sessions) stream(server any, ss grpc.ServerStream,
	info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if exempt(info.FullMethod) {
		return handler(server, ss)
	}
	ctx, c, err := s.enter(ss.Context(), true)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := handler(server, stream{ss, ctx})
		s.leave(c)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !c.isEnded() {
			return err
		}
	case <-c.ended:
	}
	s.mu.Lock()
	released := c.session.released
	s.mu.Unlock()
	if released {
		return status.Error(codes.Aborted, "session released")
	}
	// The call may have done something. Trailers alone would say that it did
	// not, and be repeated; after a header they are the end of a stream.
	_ = ss.SendHeader(metadata.MD{})
	return refuse(ctx, codes.Unavailable, "session-leaving", "1")
}

// It serves another session, or the call is of an older lease.
func (s *Sessions) refuse(ctx context.Context) error {
	said := []string{"session-epoch", strconv.FormatUint(s.epoch, 10)}
	if s.session != nil {
		said = append(said, "session-owner", s.session.ID)
	}
	return refuse(ctx, codes.FailedPrecondition, said...)
}

// A status without a message, and trailers that say why.
func refuse(ctx context.Context, code codes.Code, said ...string) error {
	if err := grpc.SetTrailer(ctx, metadata.Pairs(said...)); err != nil {
		return err
	}
	return status.Error(code, "")
}

func (s *Sessions) enter(ctx context.Context, isStream bool) (context.Context,
	*call, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	id := only(md, "session-id")
	if !valid(id) {
		return nil, nil, status.Error(codes.InvalidArgument,
			"one session-id of 1 to 256 bytes is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.leaving || s.session == nil && s.draining ||
		s.session != nil && s.session.released {
		return nil, nil, refuse(ctx, codes.Unavailable, "session-leaving", "1")
	}
	epoch, _ := strconv.ParseUint(only(md, "session-epoch"), 10, 53)
	if s.session != nil && s.session.ID != id || epoch > 0 && epoch < s.epoch {
		return nil, nil, s.refuse(ctx)
	}
	if epoch > s.epoch {
		s.epoch = epoch
	}
	if s.session == nil {
		s.session = &Session{ID: id, Subject: only(md, "session-subject"),
			Moved: only(md, "session-start") == "moved", all: s, ttl: s.TTL,
			calls: map[*call]bool{}, over: make(chan struct{})}
		s.Begin(s.session)
	}
	if ttl := milliseconds(md, "session-ttl"); ttl > 0 {
		s.session.ttl = ttl
	}
	if left := milliseconds(md, "session-ends"); left > 0 {
		ends := time.Now().Add(left)
		if ends.After(s.session.ends) {
			s.session.ends = ends
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &call{s.session, isStream, cancel, make(chan struct{})}
	s.session.calls[c] = true
	return context.WithValue(ctx, callKey{}, c), c, nil
}

func (s *Sessions) leave(c *call) {
	c.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(c.session.calls, c)
	c.session.used = time.Now()
	s.expire()
}

// the end of a session; the caller holds the mutex

func (s *Sessions) expire() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.session == nil || len(s.session.calls) > 0 {
		return
	}
	left := s.session.left()
	if s.session.released || s.leaving || left == 0 {
		s.end()
		return
	}
	s.timer = time.AfterFunc(left, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expire()
	})
}

func (s *Sessions) end() {
	if s.session != nil {
		close(s.session.over)
		s.End(s.session)
		s.session = nil
	}
}

// what the gateway asks

type health struct {
	healthpb.UnimplementedHealthServer
	sessions *Sessions
}

func (h *health) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (
	*healthpb.HealthCheckResponse, error) {
	s := h.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	md, _ := metadata.FromIncomingContext(ctx)
	if s.session != nil && len(s.session.calls) == 0 &&
		only(md, "session-elsewhere") == s.session.ID {
		s.end()
	}
	calls := 0
	answer := metadata.Pairs("instance-id", s.instance)
	if s.session != nil {
		calls = len(s.session.calls)
		answer.Set("session-id", s.session.ID)
		answer.Set("session-left",
			strconv.FormatInt(s.session.left().Milliseconds(), 10))
		if s.session.Subject != "" {
			answer.Set("session-subject", s.session.Subject)
		}
	}
	answer.Set("session-calls", strconv.Itoa(calls))
	answer.Set("session-epoch", strconv.FormatUint(s.epoch, 10))
	if s.draining && !s.leaving {
		answer.Set("session-drain", "1")
	}
	if err := grpc.SetHeader(ctx, answer); err != nil {
		return nil, err
	}
	state := healthpb.HealthCheckResponse_SERVING
	if s.leaving {
		state = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: state}, nil
}

// metadata

func only(md metadata.MD, key string) string {
	if values := md.Get(key); len(values) == 1 {
		return values[0]
	}
	return ""
}

func valid(id string) bool {
	for i := 0; i < len(id); i++ {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 256
}

// A year at most, 0 if there is none.
func milliseconds(md metadata.MD, key string) time.Duration {
	const year = 365 * 24 * time.Hour
	value, err := strconv.ParseUint(only(md, key), 10, 40)
	if err != nil {
		return 0
	}
	if ms := time.Duration(value) * time.Millisecond; ms < year {
		return ms
	}
	return year
}
