package provider

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxAttempts = 4
	// firstPause is the longest pause after the first failure. Each further pause may be twice as
	// long, up to maxPause. A server that asks for more patience than maxPause is left alone: the
	// caller comes again later.
	firstPause, maxPause = 2 * time.Second, time.Minute
	// maxRetryAfter bounds the patience that a server may ask for. What asks for more is broken, or
	// means no good.
	maxRetryAfter    = 6 * time.Hour
	maxMessageLength = 200
)

// StatusError says that a server answered with an error.
type StatusError struct {
	// Status is the status code of HTTP.
	Status int
	// RetryAfter is how long the server asks to wait, 6 hours at most; 0 if it does not ask.
	RetryAfter time.Duration
	// Message is what the server says, without keys and control characters.
	Message string
	where   string
	// cause is what the status means, if a provider knows better than [StatusError.meaning].
	cause error
}

// Error says what was asked, and what the server answered.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("GET %s: %d %s", e.where, e.Status, http.StatusText(e.Status))
	if cause := e.Unwrap(); cause != nil {
		text += ": " + cause.Error()
	}
	if e.Message != "" {
		text += fmt.Sprintf(": the server says %q", e.Message)
	}
	return text
}

// Unwrap returns what the status means, for [errors.Is]; nil if it may pass.
func (e *StatusError) Unwrap() error {
	if e.cause != nil {
		return e.cause
	}
	_, cause := e.meaning()
	return cause
}

// meaning returns what the status means to a caller, and in metrics.
func (e *StatusError) meaning() (outcome Outcome, cause error) {
	switch {
	case e.Status == http.StatusUnauthorized:
		return OutcomeRefusedKey, ErrRefusedKey
	case e.Status == http.StatusPaymentRequired, e.Status == http.StatusForbidden:
		return OutcomeNotInPlan, ErrNotInPlan
	case e.Status == http.StatusNoContent:
		return OutcomeNoData, ErrNoData
	case e.Status == http.StatusNotImplemented, e.Status == http.StatusGone:
		return OutcomeUnavailable, ErrUnavailable
	case e.Status == http.StatusNotFound:
		return OutcomeUnknownZone, ErrUnknownZone
	case e.Status == http.StatusTooManyRequests:
		return OutcomeRateLimited, ErrRateLimited
	case e.Status >= http.StatusInternalServerError:
		return OutcomeServerError, nil
	}
	return OutcomeRejected, nil
}

// mayPass reports whether another attempt may succeed.
func (e *StatusError) mayPass() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return e.Status >= http.StatusInternalServerError
}

// failed returns the error that a response is.
func (c *client) failed(r request, response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorSize)) // the status says enough
	e := &StatusError{
		Status:     response.StatusCode,
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), c.options.Now()),
		Message:    messageOf(body, r.secrets),
		where:      nameOf(r.url),
	}
	outcome, _ := e.meaning()
	c.observe(outcome, response)
	c.pace.quiet.ask(e, c.options.Now())
	return e
}

// An unreachableError says that there is no response, or only a part.
type unreachableError struct {
	text  string
	cause error
}

func (e *unreachableError) Error() string { return e.text }
func (e *unreachableError) Unwrap() error { return e.cause }

// unreachable returns an error without the query of the URL and without secrets.
func (c *client) unreachable(r request, err error) error {
	c.observe(OutcomeUnreachable, nil)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the wrapping has the URL
	}
	return &unreachableError{fmt.Sprintf("GET %s: %s", nameOf(r.url), withoutSecrets(err.Error(), r.secrets)), err}
}

// pauseAfter returns how long to wait after an attempt has failed; mayHelp is false if another
// attempt would fail, too, or comes too late.
func (c *client) pauseAfter(attempt int, err error) (pause time.Duration, mayHelp bool) {
	if attempt >= maxAttempts {
		return 0, false
	}
	pause = time.Duration((1 + c.options.Jitter()) / 2 * float64(min(maxPause, firstPause<<(attempt-1))))
	if status, ok := errors.AsType[*StatusError](err); ok {
		if status.RetryAfter > 0 {
			pause += status.RetryAfter // and the pause: many wait for the same instant
		}
		return pause, status.mayPass() && status.RetryAfter <= maxPause
	}
	_, isUnreachable := errors.AsType[*unreachableError](err)
	_, isDistrust := errors.AsType[*tls.CertificateVerificationError](err)
	return pause, isUnreachable && !isDistrust
}

// retryAfter reads the header Retry-After: seconds, or an instant. More than maxRetryAfter is
// maxRetryAfter.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter.Seconds()))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}

// messageOf returns what a server says about an error, in one line. A page of HTML says nothing.
func messageOf(body []byte, secrets []Secret) string {
	text := string(body)
	var fields struct{ Error, Message, Detail, Title, Reason json.RawMessage }
	if json.Unmarshal(body, &fields) == nil {
		for _, field := range []json.RawMessage{fields.Message, fields.Detail, fields.Error, fields.Title, fields.Reason} {
			var message string
			if json.Unmarshal(field, &message) == nil && message != "" {
				text = message
				break
			}
		}
	}
	if isHTML(body) {
		return ""
	}
	text = withoutSecrets(text, secrets)
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	return fmt.Sprintf("%.*s", maxMessageLength, strings.Join(strings.Fields(text), " "))
}

// withoutSecrets hides what must not show, the longest secret first: a short one may be a part of it.
func withoutSecrets(text string, secrets []Secret) string {
	longestFirst := func(a, b Secret) int { return cmp.Compare(len(b.reveal()), len(a.reveal())) }
	for _, s := range slices.SortedFunc(slices.Values(secrets), longestFirst) {
		if !s.IsEmpty() {
			text = strings.ReplaceAll(text, s.reveal(), hidden)
			text = strings.ReplaceAll(text, url.QueryEscape(s.reveal()), hidden) // as in a URL that a server repeats
		}
	}
	return text
}

// nameOf returns a URL without its query, which may have a key.
func nameOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the provider"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// isHTML reports whether a body is a page for people: a log-in page, or the error of a proxy.
func isHTML(body []byte) bool {
	text := strings.TrimSpace(strings.TrimPrefix(string(body[:min(len(body), 512)]), "\ufeff"))
	return strings.HasPrefix(text, "<")
}
