package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// speed is how much faster than in a file time passes here: a day in two minutes.
	speed = 720
	// The work of a file's scenario, in the file's time.
	fileDuration, fileDeadline = time.Hour, 24 * time.Hour
	// At least so much of a file must be known, and no more is used.
	fileLeast, fileMost = 2 * time.Hour, 48 * time.Hour
)

// A scenario is a forecast, and work that goes with it.
type scenario struct {
	location string
	slots    []slot // in order
	// What the Job that can wait asks for.
	duration, deadline time.Duration
	// How much of the forecast is drawn.
	drawn time.Duration
	// What to say of the forecast.
	about []string
}

// A slot is an intensity between two distances from the forecast's start.
type slot struct {
	from, to  time.Duration
	intensity float64
}

// madeUp is dirty now and clean in just under a minute, and so again every four minutes, for two hours.
func madeUp() scenario {
	const width, waves = 10 * time.Second, 30
	wave := []float64{
		430, 426, 408, 352, 236, 115, 124, 141, 176, 228, 287, 338,
		377, 404, 420, 431, 438, 442, 443, 441, 438, 436, 434, 432,
	}
	s := scenario{
		location: "DEMO", duration: 10 * time.Second, deadline: 10 * time.Minute, drawn: time.Duration(len(wave)) * width,
		about: []string{"It is made up: dirty now, clean in about a minute. A slot of it lasts 10 s, not the usual 5 minutes."},
	}
	for range waves {
		for _, value := range wave {
			from := time.Duration(len(s.slots)) * width
			s.slots = append(s.slots, slot{from, from + width, value})
		}
	}
	return s
}

// fromFile takes the first location of a file. Errors name the file.
func fromFile(path string) (scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return scenario{}, fmt.Errorf("forecast file: %w", err)
	}
	s, err := scaled(data)
	if err != nil {
		return scenario{}, fmt.Errorf("forecast file %s: %w", path, err)
	}
	s.about = append([]string{
		fmt.Sprintf("It is %s, location %s, at %d times the speed: a day passes in two minutes.", path, s.location, speed),
		fmt.Sprintf("Work of an hour becomes work of %s, and its deadline of a day becomes one of %s.", plan.FormatDuration(s.duration), plan.FormatDuration(s.deadline)),
	}, s.about...)
	return s, nil
}

// scaled makes a scenario of an exporter's array.
func scaled(data []byte) (scenario, error) {
	issue, err := forecast.Parse(data)
	if err != nil {
		return scenario{}, err
	}
	name := firstLocation(data, issue)
	series := issue.Series[name]
	start := series.Start()
	s := scenario{location: name, duration: fileDuration / speed}
	if s.location == "" {
		s.location = "FILE" // a policy wants a name
	}
	for _, given := range series.Slots() {
		from, to := given.Start.Sub(start), min(given.End.Sub(start), fileMost)
		if from < to {
			s.slots = append(s.slots, slot{from / speed, to / speed, given.Intensity})
		}
	}
	span := s.span() * speed
	if span < fileLeast {
		return scenario{}, fmt.Errorf("location %s covers %s, want %s at least", s.location, plan.FormatDuration(span.Round(time.Second)), plan.FormatDuration(fileLeast))
	}
	s.deadline = min(fileDeadline/speed, s.span()).Truncate(time.Second)
	s.drawn = min(fileDeadline/speed, s.span())
	if problem := issue.Problem(); problem != "" {
		s.about = append(s.about, problem+"; the rest is used.")
	}
	return s, nil
}

// firstLocation returns the location of the first element that could be used.
func firstLocation(data []byte, issue forecast.Document) string {
	var elements []json.RawMessage
	_ = json.Unmarshal([]byte(strings.TrimPrefix(string(data), "\ufeff")), &elements) // it has been parsed before
	for _, raw := range elements {
		var e struct{ Location string }
		if json.Unmarshal(raw, &e) == nil && issue.Series[e.Location] != nil {
			return e.Location
		}
	}
	return ""
}

// span is the distance from the start to the end of the forecast.
func (s scenario) span() time.Duration { return s.slots[len(s.slots)-1].to }

// series is the forecast, starting at start.
func (s scenario) series(start time.Time) *forecast.Series {
	slots := make([]forecast.Slot, len(s.slots))
	for i, given := range s.slots {
		slots[i] = forecast.Slot{Start: start.Add(given.from), End: start.Add(given.to), Intensity: given.intensity}
	}
	return forecast.NewSeries(slots)
}

// policy is the manifest of the policy that goes with it: the defaults, with a provider and for its location.
func (s scenario) policy(baseURL string) string {
	return fmt.Sprintf(`apiVersion: gridlatch.dev/v1alpha1
kind: CarbonPolicy
metadata: {name: default}
spec:
  forecast:
    provider:
      type: ElectricityMaps
      secretRef: {name: electricity-maps} # with the key of the provider
      baseURL: %s # only here, for the stand-in
  locations: [{name: %q}]
`, baseURL, s.location)
}

var (
	//go:embed can-wait.yaml
	canWaitManifest string
	//go:embed ordinary.yaml
	ordinaryManifest string
)

// manifests are those of the Job that can wait and of the ordinary one, with the durations of the scenario.
func (s scenario) manifests() (canWait, ordinary string) {
	change := strings.NewReplacer(
		"deadline: 10m", "deadline: "+plan.FormatDuration(s.deadline),
		"duration: 10s", "duration: "+plan.FormatDuration(s.duration),
		"run-for: 10s", "run-for: "+s.duration.String(),
	)
	return change.Replace(canWaitManifest), change.Replace(ordinaryManifest)
}

// cleanest is the lowest mean intensity that work of the duration can have, if it starts from from to until; NaN if
// the forecast covers no such time. It looks in steps of a tenth of a second, so as to depend on nothing that it checks.
func cleanest(series *forecast.Series, from, until time.Time, duration time.Duration) float64 {
	lowest := math.NaN()
	for at := from; !at.After(until); at = at.Add(100 * time.Millisecond) {
		mean, covered := series.Mean(at, at.Add(duration))
		if covered >= duration-time.Millisecond && !(mean >= lowest) {
			lowest = mean
		}
	}
	return lowest
}

// An outcome compares the run that was with the one that would have been.
type outcome struct {
	atOnce, asRun float64 // gCO2eq for each kWh
}

// compare takes the forecast's means over the duration.
func compare(series *forecast.Series, submitted, started time.Time, duration time.Duration) outcome {
	atOnce, _ := series.Mean(submitted, submitted.Add(duration))
	asRun, _ := series.Mean(started, started.Add(duration))
	return outcome{atOnce, asRun}
}

// share is what was avoided in percent; 0 where that has no meaning.
func (o outcome) share() float64 {
	if o.atOnce <= 0 {
		return 0
	}
	return 100 * (o.atOnce - o.asRun) / o.atOnce
}
