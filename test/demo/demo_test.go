package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestAFileIsScaledAndMovedToNow(t *testing.T) {
	s, err := scaled([]byte(`[
		{"location":"A","timestamp":"2023-03-31T01:00:00Z","duration":60,"value":200},
		{"location":"A","timestamp":"2023-03-31T00:00:00Z","duration":60,"value":400},
		{"location":"B","timestamp":"2023-03-31T00:00:00Z","duration":60,"value":1},
		{"location":"A","timestamp":"2023-03-31T02:00:00Z","duration":60},
		{"location":"A","timestamp":"soon","duration":60,"value":7}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{
		{Start: start, End: start.Add(5 * time.Second), Intensity: 400},
		{Start: start.Add(5 * time.Second), End: start.Add(10 * time.Second), Intensity: 200},
		{Start: start.Add(10 * time.Second), End: start.Add(15 * time.Second)},
	}
	if diff := cmp.Diff(want, s.series(start).Slots()); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	if s.location != "A" || s.duration != 5*time.Second || s.deadline != 15*time.Second {
		t.Errorf("location %s, duration %s, deadline %s; want A, 5s, 15s", s.location, s.duration, s.deadline)
	}
	if about := strings.Join(s.about, "\n"); !strings.Contains(about, "element 4: timestamp") {
		t.Errorf("it says %q, want the bad element among it", about)
	}
}

func TestAFileThatCannotBeUsedIsAnError(t *testing.T) {
	for name, data := range map[string]string{
		"broken JSON":     `[{"location":`,
		"no array":        `{"location":"A"}`,
		"empty":           `[]`,
		"only bad":        `[{"location":"A","timestamp":"soon","duration":60,"value":7}]`,
		"under two hours": `[{"location":"A","timestamp":"2023-03-31T00:00:00Z","duration":60,"value":7}]`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.json")
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := fromFile(path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one that names %s", err, path)
			}
		})
	}
}

func TestTheMadeUpForecastIsCleanInAboutAMinute(t *testing.T) {
	s := madeUp()
	best := cleanest(s.series(start), start, start.Add(s.deadline), s.duration)
	at, _ := s.series(start).At(start.Add(50 * time.Second))
	if best != at || best > 130 {
		t.Errorf("the cleanest is %v, after 50 s it is %v; want the same, below 130", best, at)
	}
}

func TestTheManifestsHaveTheDurationsOfTheScenario(t *testing.T) {
	s := madeUp()
	if canWait, ordinary := s.manifests(); canWait != canWaitManifest || ordinary != ordinaryManifest {
		t.Error("the made-up scenario has other durations than the files, want the same")
	}
	s.duration, s.deadline = 5*time.Second, 2*time.Minute
	canWait, ordinary := s.manifests()
	for _, want := range []string{"gridlatch.dev/deadline: 2m ", "gridlatch.dev/duration: 5s ", "run-for: 5s "} {
		if !strings.Contains(canWait, want) {
			t.Errorf("no %q in\n%s", want, canWait)
		}
	}
	if !strings.Contains(ordinary, "run-for: 5s\n") || strings.Contains(ordinary, " gridlatch.dev") {
		t.Errorf("want the run of 5s and no annotation of ours in\n%s", ordinary)
	}
}

func TestCarbonAvoidedIsTheDifferenceOfMeans(t *testing.T) {
	series := scenario{slots: []slot{{0, 10 * time.Second, 400}, {10 * time.Second, 30 * time.Second, 100}}}.series(start)
	o := compare(series, start.Add(5*time.Second), start.Add(15*time.Second), 10*time.Second)
	if want := (outcome{250, 100}); o != want || o.share() != 60 {
		t.Errorf("%+v, %v %%; want %+v, 60 %%", o, o.share(), want)
	}
	if share := (outcome{0, -10}).share(); share != 0 {
		t.Errorf("the share of nothing is %v %%, want 0", share)
	}
	if best := cleanest(series, start.Add(25*time.Second), start.Add(29*time.Second), 10*time.Second); !math.IsNaN(best) {
		t.Errorf("the cleanest beyond the forecast is %v, want NaN", best)
	}
}

func TestTheChartMarksTheRun(t *testing.T) {
	s := scenario{slots: []slot{{0, 12 * time.Second, 400}, {12 * time.Second, 24 * time.Second, 100}, {36 * time.Second, 48 * time.Second, 300}}}
	c := chart{
		series: s.series(start), from: start, span: 48 * time.Second,
		start: start.Add(12 * time.Second), end: start.Add(18 * time.Second), label: "run",
	}
	want := strings.Join([]string{
		"  400 ┤████████████",
		"      ┤████████████                        ▄▄▄▄▄▄▄▄▄▄▄▄",
		"      ┤████████████                        ████████████",
		"      ┤████████████                        ████████████",
		"  100 ┤████████████▄▄▄▄▄▄▄▄▄▄▄▄            ████████████",
		"    0 ┤████████████████████████            ████████████",
		"      └────────────━━━━━━────────────────────────────── in 48 s",
		"       ▲ now       ▲ run",
	}, "\n")
	if diff := cmp.Diff(want, strings.Join(c.lines(), "\n")); diff != "" {
		t.Errorf("chart (-want +got):\n%s", diff)
	}
	for _, at := range []time.Duration{-time.Hour, 0, time.Second, 47 * time.Second, time.Hour} {
		c.start, c.end = start.Add(at), start.Add(at+time.Millisecond)
		c.lines() // of any run, without a panic
	}
}

func TestTheRelevantLinesOfADescription(t *testing.T) {
	const description = `Name:             can-wait-1
Namespace:        default
Labels:           job-name=can-wait
                  gridlatch.dev/state=held
Annotations:      gridlatch.dev/deadline: 10m
                  gridlatch.dev/reason:
                    waits until then
                  kwok.gridlatch.dev/run-for: 10s
Status:           Pending
Containers:
  work:
    Image:        busybox
Events:
  Type    Reason         Age   From       Message
  ----    ------         ----  ----       -------
  Normal  CarbonHeld     1s    gridlatch  waits until then
  Normal  Scheduled      1s    scheduler  assigned
`
	want := `Name:             can-wait-1
Labels:           gridlatch.dev/state=held
Annotations:      gridlatch.dev/deadline: 10m
                  gridlatch.dev/reason:
                    waits until then
Status:           Pending
`
	if diff := cmp.Diff(want, relevant(description, "Name", "Status")); diff != "" {
		t.Errorf("relevant (-want +got):\n%s", diff)
	}
	want = `Events:
  Type    Reason         Age   From       Message
  ----    ------         ----  ----       -------
  Normal  CarbonHeld     1s    gridlatch  waits until then
`
	if diff := cmp.Diff(want, events(description, "CarbonHeld")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
