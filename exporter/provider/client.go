package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultUserAgent = "gridlatch (+https://github.com/gridlatch/gridlatch)"
	defaultTimeout   = 30 * time.Second
	// maxResponseSize bounds a response in bytes, after decompression. Ten weeks of slots of five
	// minutes are below it. [forecast.Parse] reads no more, either.
	maxResponseSize = 4 << 20
	// maxElements bounds the elements of a response, and so the memory that small elements take: a
	// year of slots of five minutes.
	maxElements = 110_000
	// maxErrorSize bounds what is read of a response that tells of an error.
	maxErrorSize = 4 << 10
	maxRedirects = 5
	// maxBurst is how many requests may follow each other without a pause, if the limit allows twice
	// as many.
	maxBurst = 5
)

// Outcome is what came of an attempt, as a label of a metric.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeNotModified Outcome = "not-modified"
	OutcomeNoData      Outcome = "no-data"
	OutcomeRefusedKey  Outcome = "refused-key"
	OutcomeNotInPlan   Outcome = "not-in-plan"
	OutcomeUnavailable Outcome = "unavailable"
	OutcomeUnknownZone Outcome = "unknown-zone"
	OutcomeRateLimited Outcome = "rate-limited"
	OutcomeRejected    Outcome = "rejected"
	OutcomeServerError Outcome = "server-error"
	OutcomeUnreachable Outcome = "unreachable"
)

// Attempt is one request to a provider's server.
type Attempt struct {
	Outcome Outcome
	// RequestsLeft is how many more requests the server allows for now; -1 if the server does not
	// say.
	RequestsLeft int
}

// A client asks a provider's server politely. It is safe for concurrent use.
type client struct {
	http    *http.Client
	options Options
	pace    *pace
	cache   responseCache
	// isDeprecated reports whether the server has said at last that a newer version of its service
	// should be asked.
	isDeprecated atomic.Bool
}

// A request is a GET. The header has what must not follow a redirect to another host; secrets has
// what no error may show.
type request struct {
	url     string
	header  http.Header
	secrets []Secret
	// keepsUntilExpiry says that the server must not be asked again before its response expires.
	keepsUntilExpiry bool
}

// hasKey reports whether the header or the URL has a key. Go's client sends the URL along with a redirect.
func (r request) hasKey() bool {
	return len(r.header) > 0 || slices.ContainsFunc(r.secrets, func(s Secret) bool { return !s.IsEmpty() })
}

// newClient makes a client that asks no more often than a limit allows.
func newClient(o Options, limit Limit) (*client, error) {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64 // it spreads the attempts of many clusters
	}
	if o.UserAgent == "" {
		o.UserAgent = defaultUserAgent
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	roots, err := certificates(o.CA)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &client{http: &http.Client{Transport: transport}, options: o, pace: &pace{limiter: limit.pacer()}}, nil
}

// newPublicClient is [newClient] for a server that counts the requests of an address, whatever they are for. At the
// server's public address, all clients of the same Options.Paces keep the limit together.
func newPublicClient(o Options, limit Limit, base, public string) (*client, error) {
	c, err := newClient(o, limit)
	if err == nil && o.Paces != nil && base == public {
		c.pace = o.Paces.of(public, limit)
	}
	return c, err
}

// Paces are how often public servers may be asked. The zero Paces is ready. It is safe for concurrent use.
type Paces struct {
	mu       sync.Mutex
	byServer map[string]*pace
}

// of returns the pace of a server.
func (p *Paces) of(server string, limit Limit) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byServer == nil {
		p.byServer = map[string]*pace{}
	}
	if p.byServer[server] == nil {
		p.byServer[server] = &pace{limiter: limit.pacer()}
	}
	return p.byServer[server]
}

// A pace is how often a server may be asked.
type pace struct {
	limiter *rate.Limiter
	quiet   quietTime
}

// pacer returns a limiter that keeps the limit in every span of the limit's length, also right after
// a burst.
func (l Limit) pacer() *rate.Limiter {
	burst := max(1, min(maxBurst, l.Requests/2))
	return rate.NewLimiter(rate.Limit(float64(l.Requests-burst+1)/l.Per.Seconds()), burst)
}

// certificates returns those of the system and the given ones.
func certificates(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without certificates trusts the given ones only
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca: no certificate in it: want PEM")
	}
	return roots, nil
}

// sleep waits in real time.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get returns the body of a successful response. It tries again as long as that may help.
func (c *client) get(ctx context.Context, r request) ([]byte, error) {
	if r.keepsUntilExpiry {
		if body := c.cache.fresh(r.url, c.options.Now()); body != nil {
			return body, nil
		}
	}
	for attempt := 1; ; attempt++ {
		body, err := c.try(ctx, r)
		if err == nil {
			return body, nil
		}
		pause, mayHelp := c.pauseAfter(attempt, err)
		if !mayHelp || ctx.Err() != nil {
			return nil, err
		}
		if c.options.Sleep(ctx, pause) != nil {
			return nil, err // the request's error says more than that time is up
		}
	}
}

// try sends a request once.
func (c *client) try(ctx context.Context, r request) ([]byte, error) {
	if err := c.keepPace(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("the URL cannot be asked") // the cause would show the URL
	}
	q.Header = r.header.Clone()
	if q.Header == nil {
		q.Header = http.Header{}
	}
	q.Header.Set("User-Agent", c.options.UserAgent)
	q.Header.Set("Accept", "application/json, text/csv;q=0.9")
	known := c.cache.prepare(r.url, q.Header)
	response, err := c.withoutRedirectsOf(r).Do(q)
	if err != nil {
		return nil, c.unreachable(r, err)
	}
	defer response.Body.Close()
	if known != nil && response.StatusCode == http.StatusNotModified {
		c.observe(OutcomeNotModified, response)
		c.cache.renew(r.url, response.Header)
		return known, nil
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNonAuthoritativeInfo {
		return nil, c.failed(r, response)
	}
	c.isDeprecated.Store(response.StatusCode == http.StatusNonAuthoritativeInfo)
	return c.read(r, response)
}

// read returns the body of a successful response.
func (c *client) read(r request, response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseSize+1))
	if err != nil {
		return nil, c.unreachable(r, fmt.Errorf("the response is cut off after %d bytes: %w", len(body), err))
	}
	c.observe(OutcomeOK, response)
	if len(body) > maxResponseSize {
		return nil, fmt.Errorf("GET %s: the response has more than %d bytes: %w", nameOf(r.url), maxResponseSize, ErrUnreadable)
	}
	if isSureToBeWhole(response) {
		c.cache.keep(r.url, response.Header, body)
	}
	return body, nil
}

// isSureToBeWhole reports whether a body that has been read to its end cannot have been cut off. A
// body of HTTP/1 whose length nobody states ends where the connection ends.
func isSureToBeWhole(response *http.Response) bool {
	return response.ContentLength >= 0 || response.Uncompressed || response.ProtoMajor > 1 || len(response.TransferEncoding) > 0
}

// withoutRedirectsOf returns an HTTP client that takes no key to another host, and never goes from
// https to http. Go's own client keeps the header Authorization only.
func (c *client) withoutRedirectsOf(r request) *http.Client {
	careful := *c.http
	careful.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case from.Scheme == "https" && to.URL.Scheme != "https":
			return errors.New("redirect from https to http")
		case r.hasKey() && (to.URL.Host != from.Host || to.URL.Scheme != from.Scheme):
			return fmt.Errorf("redirect to %s://%s: the key stays with %s://%s", to.URL.Scheme, to.URL.Host, from.Scheme, from.Host)
		}
		return nil
	}
	return &careful
}

// keepPace waits until the rate limit and the server allow another request. If the server wants to be
// left alone for longer than maxPause, keepPace returns what the server said.
func (c *client) keepPace(ctx context.Context) error {
	now := c.options.Now()
	if pause, status := c.pace.quiet.left(now); pause > maxPause {
		return status
	} else if pause > 0 {
		if err := c.wait(ctx, pause); err != nil {
			return err
		}
		now = c.options.Now()
	}
	place := c.pace.limiter.ReserveN(now, 1)
	pause := place.DelayFrom(now)
	if pause == 0 {
		return ctx.Err()
	}
	if err := c.wait(ctx, pause); err != nil {
		place.CancelAt(c.options.Now())
		return err
	}
	return nil
}

func (c *client) wait(ctx context.Context, d time.Duration) error {
	if err := c.options.Sleep(ctx, d); err != nil {
		return fmt.Errorf("wait for the rate limit: %w", err)
	}
	return nil
}

// A quietTime is until when the server wants to be left alone, by any zone. The zero quietTime is
// over.
type quietTime struct {
	mu     sync.Mutex
	until  time.Time
	status *StatusError
}

// ask notes that the server asks for patience.
func (q *quietTime) ask(status *StatusError, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until := now.Add(status.RetryAfter); status.RetryAfter > 0 && status.mayPass() && until.After(q.until) {
		q.until, q.status = until, status
	}
}

// left returns how much of the quiet time is left, and what the server said. The error asks for the
// patience that is left. A quiet time that seems longer than the server wanted is over: the clock was
// ahead when it began.
func (q *quietTime) left(now time.Time) (time.Duration, *StatusError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.status == nil {
		return 0, nil
	}
	left := q.until.Sub(now)
	if left <= 0 || left > q.status.RetryAfter {
		q.until, q.status = time.Time{}, nil
		return 0, nil
	}
	status := *q.status
	status.RetryAfter = left
	return status.RetryAfter, &status
}

// observe tells of an attempt. The response may be nil.
func (c *client) observe(outcome Outcome, response *http.Response) {
	if c.options.Observe == nil {
		return
	}
	attempt := Attempt{Outcome: outcome, RequestsLeft: -1}
	if response != nil {
		for _, name := range []string{"X-RateLimit-Remaining", "RateLimit-Remaining"} {
			if left, err := strconv.Atoi(response.Header.Get(name)); err == nil && left >= 0 {
				attempt.RequestsLeft = left
			}
		}
	}
	c.options.Observe(attempt)
}
