package gating

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/policy"
)

// lagLifetime is how long a lag counts at least that was seen once.
const lagLifetime = 10 * time.Second

// Clock is the clock of this machine or, if that lags behind the clock of the API server, the clock
// of the API server. If the clock of the leader lagged, all work would miss its latest start by as
// much. A clock that is ahead makes work start early. That breaks no promise, so such a clock is
// left as it is.
//
// The API server gives its time with each answer, in whole seconds. The lag that is known is never
// too long, because an answer takes time, too.
type Clock struct {
	local policy.Clock

	mu sync.Mutex
	// newLag and oldLag are the largest lags that were seen since lastTurn, and in the time before it.
	newLag, oldLag time.Duration
	lastTurn       time.Time
}

// NewClock returns a clock that knows of no lag yet, and registers its metric.
func NewClock(local policy.Clock, registry prometheus.Registerer) *Clock {
	c := &Clock{local: local}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gridlatch_clock_lag_seconds", Help: "By how much the clock of this machine lags behind that of the API server. If it does, work is released by the latter.",
	}, func() float64 { return c.lag().Seconds() }))
	return c
}

// Now returns the later one of the two times.
func (c *Clock) Now() time.Time { return c.local.Now().Add(c.lag()) }

// lag returns by how much the clock of this machine lags behind.
func (c *Clock) lag() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.newLag, c.oldLag)
}

// note takes the time of an answer of the API server.
func (c *Clock) note(server time.Time) {
	now := c.local.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.lastTurn) >= lagLifetime {
		c.newLag, c.oldLag, c.lastTurn = 0, c.newLag, now
	}
	c.newLag = max(c.newLag, server.Sub(now))
}

// Follow returns a transport that notes the time of each answer.
func (c *Clock) Follow(transport http.RoundTripper) http.RoundTripper {
	return following{c, transport}
}

// following is a transport to the API server.
type following struct {
	clock *Clock
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f following) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := f.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if server, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		f.clock.note(server)
	}
	return response, nil
}

// WrappedRoundTripper returns the transport below, which the clients of Kubernetes look for.
func (f following) WrappedRoundTripper() http.RoundTripper { return f.next }
