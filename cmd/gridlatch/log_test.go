package main

import (
	"bytes"
	"errors"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

func TestALineOfTheLogIsWrittenOnlySoOften(t *testing.T) {
	var out bytes.Buffer
	handler := limitLines(slog.NewJSONHandler(&out, nil))
	logger := logr.FromSlogHandler(handler)
	for i := range 5000 {
		logger.WithValues("policy", i).Error(errors.New("connection refused"), "cannot release pods")
	}
	logger.Info("another line")
	if n := strings.Count(out.String(), "cannot release pods"); n < linesAtOnce || n > linesAtOnce+100 {
		t.Errorf("the line is written %d times", n)
	}
	if !strings.Contains(out.String(), "another line") {
		t.Error("others are left out, too")
	}
	out.Reset()
	server := log.New(slogWriter{handler}, "", 0) // as net/http writes
	for range 5000 {
		server.Print("http: TLS handshake error from 192.0.2.1:4711: EOF")
	}
	if n := strings.Count(out.String(), "TLS handshake error"); n < linesAtOnce || n > linesAtOnce+100 {
		t.Errorf("what the standard library says is written %d times", n)
	}
}

func TestWhatIsLeftOutOfTheLogIsCounted(t *testing.T) {
	l := &lineLimits{known: map[uintptr]*lineLimit{}}
	r := slog.Record{PC: 1}
	for range linesAtOnce {
		if _, ok := l.allow(r); !ok {
			t.Fatal("left out at once")
		}
	}
	l.allow(r)
	l.allow(r)
	r.Time = r.Time.Add(1e9)
	if skipped, ok := l.allow(r); !ok || skipped != 2 {
		t.Errorf("%d are left out, written: %t", skipped, ok)
	}
}

// slogWriter hands lines to a handler as slog.SetDefault has the package log do.
type slogWriter struct{ slog.Handler }

func (w slogWriter) Write(p []byte) (int, error) {
	slog.NewLogLogger(w.Handler, slog.LevelInfo).Print(string(p))
	return len(p), nil
}
