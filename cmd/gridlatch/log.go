package main

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// A line of the program's is written this often a second, and so many at once.
	linesPerSecond, linesAtOnce = 1, 20
)

// sparing is a handler that bounds how much each line of the program's is written:
// an outage, or a stranger at a port, multiplies some of them without end. What is
// left out is counted on the next that is written. Those that the standard
// library writes, which knows no lines, count as one.
type limitedHandler struct {
	slog.Handler

	limits *lineLimits
}

// lines are known by where in the program they are written.
type lineLimits struct {
	mu    sync.Mutex
	known map[uintptr]*lineLimit
}

type lineLimit struct {
	pace    *rate.Limiter
	skipped int
}

// spare returns a handler that writes to another.
func limitLines(handler slog.Handler) slog.Handler {
	return limitedHandler{handler, &lineLimits{known: map[uintptr]*lineLimit{}}}
}

// Handle implements slog.Handler.
func (s limitedHandler) Handle(ctx context.Context, r slog.Record) error {
	skipped, ok := s.limits.allow(r)
	if !ok {
		return nil
	}
	if skipped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("skipped", skipped))
	}
	return s.Handler.Handle(ctx, r)
}

// allow reports whether a record is written, and how many of its line were not.
func (l *lineLimits) allow(r slog.Record) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.known[r.PC]
	if of == nil {
		of = &lineLimit{pace: rate.NewLimiter(linesPerSecond, linesAtOnce)}
		l.known[r.PC] = of
	}
	if !of.pace.AllowN(r.Time, 1) {
		of.skipped++
		return 0, false
	}
	skipped, of.skipped = of.skipped, 0
	return skipped, true
}

// WithAttrs implements slog.Handler.
func (s limitedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limitedHandler{s.Handler.WithAttrs(attrs), s.limits}
}

// WithGroup implements slog.Handler.
func (s limitedHandler) WithGroup(name string) slog.Handler {
	return limitedHandler{s.Handler.WithGroup(name), s.limits}
}
