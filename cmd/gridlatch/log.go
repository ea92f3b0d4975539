package main

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

// These constants bound how often the same line of code may write to the log: so many records per
// second, and so many at once.
const (
	// A line of the program's is written this often a second, and so many at once.
	linesPerSecond, linesAtOnce = 1, 20
)

// limitedHandler bounds how often each line of code writes to the log, because an outage, or a
// stranger at a port, can repeat a message without end. The next record of the same line says how
// many were left out. All records of the standard library count as one line, because they do not
// tell their line.
type limitedHandler struct {
	slog.Handler

	limits *lineLimits
}

// lineLimits has a limit for each line of code that has written a record.
type lineLimits struct {
	mu    sync.Mutex
	known map[uintptr]*lineLimit
}

// lineLimit is the limit of one line of code.
type lineLimit struct {
	pace    *rate.Limiter
	skipped int
}

// limitLines returns a handler that passes records on to another handler.
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

// allow reports whether a record may be written, and how many records of the same line were left
// out before.
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
