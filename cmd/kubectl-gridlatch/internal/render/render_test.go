package render

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/forecast"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// hourly returns a series of hours from t0 on; NaN is a gap.
func hourly(intensities ...float64) *forecast.Series {
	var slots []forecast.Slot
	for i, intensity := range intensities {
		if start := t0.Add(time.Duration(i) * time.Hour); !math.IsNaN(intensity) {
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity})
		}
	}
	return forecast.NewSeries(slots)
}

func TestChartsOfAnyForecastShowTheRun(t *testing.T) {
	for name, tt := range map[string]struct {
		width         int
		series        *forecast.Series
		start, latest time.Duration
		run           time.Duration
		glyphs        string
	}{
		"an ordinary forecast":         {80, hourly(400, 300, 100, 200), 2 * time.Hour, 3 * time.Hour, time.Hour, "⣿█━▲"},
		"a run shorter than a column":  {80, hourly(400, 300, 100, 200), 2 * time.Hour, 3 * time.Hour, time.Second, "⣿█━▲"},
		"a terminal without a width":   {0, hourly(400, 300, 100, 200), 2 * time.Hour, 3 * time.Hour, time.Hour, "⣿━▲"},
		"a terminal of a million":      {1_000_000, hourly(400, 300, 100, 200), 2 * time.Hour, 3 * time.Hour, time.Hour, "⣿█━▲"},
		"intensities below zero":       {80, hourly(-50, -100, 20, -10), time.Hour, 3 * time.Hour, time.Hour, "━▲"},
		"nothing but zeros":            {80, hourly(0, 0, 0), time.Hour, 2 * time.Hour, time.Hour, "━▲"},
		"a gap":                        {80, hourly(400, math.NaN(), 100), 2 * time.Hour, 2 * time.Hour, time.Hour, "⣿█━▲"},
		"a start beyond the forecast":  {80, hourly(400, 300), 9 * time.Hour, 9 * time.Hour, time.Hour, "⣿━▲"},
		"a latest start that is past":  {80, hourly(400, 300), 0, -time.Hour, time.Hour, "█━▲"},
		"a run of a year":              {80, hourly(400, 300), 0, 0, 365 * 24 * time.Hour, "█━▲"},
		"a forecast of hostile length": {80, hourly(make([]float64, 50_000)...), time.Hour, 40_000 * time.Hour, time.Hour, "━▲"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			newChart(tt.width, tt.series, t0, t0.Add(tt.start), tt.run, t0.Add(tt.latest)).draw(screen.New(&out, false))
			_, body, _ := strings.Cut(out.String(), "\n")
			for _, glyph := range tt.glyphs {
				if !strings.ContainsRune(body, glyph) {
					t.Errorf("no %c in\n%s", glyph, out.String())
				}
			}
			if lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"); len(lines) != chartRows+4 {
				t.Errorf("%d lines:\n%s", len(lines), out.String())
			}
			for line := range strings.Lines(out.String()) {
				if columns := len([]rune(line)); columns > maxColumns+40 {
					t.Errorf("a line of %d columns", columns)
				}
			}
		})
	}
}

func TestProgressIsShownOnlyOfWhatTakesLong(t *testing.T) {
	var out bytes.Buffer
	now := t0
	clock := func() time.Time { return now }
	p := NewProgress(screen.New(&out, false), "replaying", clock)
	p.Share(0.1)
	if out.Len() > 0 {
		t.Errorf("shown at once: %q", out.String())
	}
	now = now.Add(showAfter)
	p.Share(0.2)
	if !strings.Contains(out.String(), "replaying") {
		t.Errorf("not shown: %q", out.String())
	}
	p.End()
	counted := NewProgress(screen.New(&out, false), "releasing", clock)
	now = now.Add(showAfter)
	out.Reset()
	counted.Count(7, 2)
	if !strings.Contains(out.String(), "releasing: 7 pods, 2 left") {
		t.Errorf("not counted: %q", out.String())
	}
	counted.End()
}

func TestNothingIsShownWithoutATerminal(t *testing.T) {
	now := t0
	p := NewProgress(nil, "replaying", func() time.Time { return now })
	now = now.Add(time.Hour)
	p.Share(0.5)
	p.Count(1, 0)
	p.End()
	if p.bar != nil {
		t.Error("there is a bar")
	}
}

func TestTheTimelineShowsWhereHoursAreLeftOut(t *testing.T) {
	hour := func(h int) *time.Time { at := t0.Add(time.Duration(h) * time.Hour); return &at }
	var out bytes.Buffer
	Page{Out: screen.New(&out, false), Width: 44}.timeline([]cluster.Release{
		{From: hour(0), Groups: 1, Pods: 1}, {From: hour(1), Groups: 2, Pods: 2000}, {From: hour(20), Groups: 1, Pods: 0}, {Groups: 3, Pods: 1000},
	})
	const want = `
Pods that start, by the hour (UTC)
  Nov 21 12:00 ┤█ 1 in 1 group
         13:00 ┤██████████ 2000 in 2 groups
      ⋮
  Nov 22 08:00 ┤ 0 in 1 group
  later        ┤█████ 1000 in 3 groups
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestCountsReadAsWords(t *testing.T) {
	for n, want := range map[int]string{0: "0 pods", 1: "1 pod", 2: "2 pods"} {
		if got := Count(n, "pod"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
