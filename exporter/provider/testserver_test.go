package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// noon is when the tests take place.
var noon = time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)

// at returns an instant of the tests' day.
func at(hour, minute int) time.Time {
	return time.Date(2026, time.November, 26, hour, minute, 0, 0, time.UTC)
}

func slot(start time.Time, width time.Duration, intensity float64) forecast.Slot {
	return forecast.Slot{Start: start, End: start.Add(width), Intensity: intensity}
}

// A fakeClock passes time only while somebody sleeps.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	pauses []time.Duration
}

func newClock() *fakeClock { return &fakeClock{now: noon} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.pass(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses = append(c.pauses, d)
	return ctx.Err()
}

func (c *fakeClock) options() Options {
	return Options{Now: c.Now, Sleep: c.Sleep, Jitter: func() float64 { return 0 }, Timeout: 5 * time.Second}
}

// A server answers on loopback, and remembers what it was asked.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func (s *server) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// paths returns what was asked, with the queries.
func (s *server) paths() []string {
	var paths []string
	for _, r := range s.asked() {
		paths = append(paths, r.URL.RequestURI())
	}
	return paths
}

func serve(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// answers serves the same document at every path.
func answers(t *testing.T, body string) *server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

// makeProvider returns a provider that asks a server.
func makeProvider(t *testing.T, kind Type, s *server, clock *fakeClock, change ...func(*Config)) Provider {
	t.Helper()
	c := Config{Type: kind, BaseURL: s.URL, Options: clock.options()}
	switch kind {
	case TypeElectricityMaps:
		c.Credentials.Key = NewSecret("em-key-123\n")
	case TypeWattTime:
		c.Credentials.User, c.Credentials.Password = NewSecret("ada"), NewSecret("pass-word-456")
	}
	for _, f := range change {
		f(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
