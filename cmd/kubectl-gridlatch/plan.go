package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// planFlags are what `plan` is asked.
type planFlags struct {
	file      string
	key       string
	location  string
	duration  string
	deadline  string
	threshold string
	now       string
	waitPrice float64
	minGain   float64
	output    string

	policy  string
	cluster connection
}

// An ask is a plan's question, read and checked.
type ask struct {
	now       time.Time
	duration  time.Duration // 0 if not given
	deadline  time.Time     // zero if not given
	threshold *float64
	location  string
}

// An answer is the decision, and the forecast that it is made by.
type answer struct {
	ask      ask
	decision plan.Decision
	forecast forecast.Forecast
	expected *forecast.Series // in its place, if not nil: the forecast as it is corrected
	// elsewhere are the cheapest starts in the other locations that the policy chooses from.
	elsewhere []window
	source    string
	warnings  []string
}

func newPlan(e env) *cobra.Command {
	f := &planFlags{}
	cmd := &cobra.Command{
		Use:   "plan [FORECAST]",
		Short: "Show when work would start, and why",
		Long: `Show when work would start by a forecast, why, and what that saves against
starting at once.

FORECAST is a file, - for standard input:
  - the JSON array of the carbon-intensity exporter,
    [{"location":"CAISO_NORTH","timestamp":"2026-11-21T00:00:00Z","duration":60,"value":430}, …]
    with the duration in minutes and the value in gCO2eq/kWh
  - or the manifest of the ConfigMap that holds it, in YAML or JSON.
Without it, the CarbonPolicy and its forecast are read from the cluster.

What cannot be true is not believed, and a warning says what that is: values that
stand for none, such as -1 and -999, zeros where the grid does not come near zero,
and the zeros with which an outage fills up the day.

A file is taken as it is. In a cluster, Gridlatch also corrects the forecast by
what it has learned of the grid; that is used here, too, if it may be read.`,
		Example: `  # A job of two hours that has to be finished by six in the morning
  kubectl gridlatch plan forecast.json --duration 2h --deadline '06:00 Europe/Berlin'

  # A file of last week
  kubectl gridlatch plan forecast.json --now 2026-11-21T21:00:00Z --deadline 12h

  # What the cluster knows now
  kubectl gridlatch plan --policy default --deadline 8h
  kubectl -n kube-system get configmap carbon-intensity -o yaml | kubectl gridlatch plan - --deadline 8h`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noArguments(cmd, args[1:])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && f.file != "" {
				return usageError{errors.New("want FORECAST or --forecast, not both")}
			}
			if len(args) > 0 {
				f.file = args[0]
			}
			return f.run(cmd.Context(), e, cmd.Flags())
		},
	}
	f.bind(cmd.Flags())
	return cmd
}

func (f *planFlags) bind(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVarP(&f.file, "forecast", "f", "", "the same as FORECAST")
	flags.StringVar(&f.duration, "duration", "", "how long the work runs: 90m, 2h, PT2H (default: the policy's, 1h)")
	flags.StringVar(&f.deadline, "deadline", "", "when it has to be finished: 8h from now, 2026-11-22T06:00:00Z, or '06:00 Europe/Berlin'\n"+
		"(default: it starts within the policy's maxDelay, 24h)")
	flags.StringVar(&f.threshold, "threshold", "", "start as soon as it would run at or below this many gCO2eq/kWh")
	flags.StringVar(&f.location, "location", "", "location of the forecast; needed if it has several")
	flags.StringVar(&f.now, "now", "", "plan as of this moment, RFC 3339 (default: the clock)")
	flags.Float64Var(&f.waitPrice, "wait-price", 0.1, "by how many percent an hour of waiting makes a start dearer")
	flags.Float64Var(&f.minGain, "min-gain", 1, "do not wait for a saving of fewer percent")
	flags.StringVar(&f.key, "key", "data", "key of the ConfigMap in FORECAST")
	flags.StringVarP(&f.output, "output", "o", "", "json, or nothing for text")
	flags.StringVar(&f.policy, "policy", "default", "without FORECAST: the CarbonPolicy to plan by")
	flags.StringVar(&f.cluster.kubeconfig, "kubeconfig", "", "without FORECAST: the kubeconfig file")
	flags.StringVar(&f.cluster.overrides.CurrentContext, "context", "", "without FORECAST: the kubeconfig's context")
	f.cluster.bindSystem(flags)
}

func (f *planFlags) run(ctx context.Context, e env, set *pflag.FlagSet) error {
	asked, err := f.ask(e)
	if err != nil {
		return err
	}
	var a answer
	if f.file == "" {
		a, err = f.live(ctx, e, set, asked)
	} else {
		a, err = f.offline(e, set, asked)
	}
	if err != nil {
		return err
	}
	e.warn(a.warnings)
	if f.output == "json" {
		return e.stdout.JSON(a.json())
	}
	a.writeText(e)
	return nil
}

// ask reads the flags.
func (f *planFlags) ask(e env) (ask, error) {
	a := ask{now: e.now().UTC().Truncate(time.Second), location: f.location}
	var err error
	if f.now != "" {
		if a.now, err = time.Parse(time.RFC3339, f.now); err != nil {
			return a, wrong("now", f.now, errors.New("want RFC 3339, such as 2026-11-21T21:00:00Z"))
		}
		a.now = a.now.UTC()
	}
	if f.duration != "" {
		if a.duration, err = plan.ParseDuration(f.duration); err != nil {
			return a, wrong("duration", f.duration, err)
		}
	}
	if f.deadline != "" {
		if a.deadline, err = plan.ParseDeadline(f.deadline, a.now); err != nil {
			return a, wrong("deadline", f.deadline, err)
		}
	}
	if f.threshold != "" {
		threshold, err := plan.ParseIntensity(f.threshold)
		if err != nil {
			return a, wrong("threshold", f.threshold, err)
		}
		a.threshold = &threshold
	}
	if err := wantPercent("wait-price", f.waitPrice); err != nil {
		return a, err
	}
	if err := wantPercent("min-gain", f.minGain); err != nil {
		return a, err
	}
	return a, wantOutput(f.output)
}

// wantPercent checks a percentage.
func wantPercent(flag string, value float64) error {
	if !(value >= 0 && value <= 100) {
		return wrong(flag, strconv.FormatFloat(value, 'g', -1, 64), errors.New("want percent from 0 to 100"))
	}
	return nil
}

// offline plans by a file.
func (f *planFlags) offline(e env, set *pflag.FlagSet, asked ask) (answer, error) {
	for _, flag := range []string{"policy", "kubeconfig", "context", "gridlatch-namespace"} {
		if set.Changed(flag) {
			return answer{}, usageError{fmt.Errorf("--%s is for reading from the cluster: want it without FORECAST", flag)}
		}
	}
	issue, err := readForecast(e, f.file, f.key)
	if err != nil {
		return answer{}, err
	}
	a := answer{ask: asked, source: f.file}
	book, err := take(issue, asked.now)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", f.file, err)
	}
	if problem := book.Problem(); problem != "" {
		a.warnings = append(a.warnings, f.file+": "+problem)
	}
	if a.forecast, err = choose(book, asked.location); err != nil {
		return answer{}, err
	}
	if err := covers(a.forecast.Series, asked.now); err != nil {
		return answer{}, fmt.Errorf("%s: %w", f.file, err)
	}
	a.decide(plan.Terms{MinGain: f.minGain / 100, WaitPrice: f.waitPrice / 100})
	return a, nil
}

// decide plans as the built-in policy does.
func (a *answer) decide(terms plan.Terms) {
	const defaultDuration, maxDelay = time.Hour, 24 * time.Hour
	task := plan.Task{Duration: a.ask.duration, Threshold: a.ask.threshold}
	if task.Duration == 0 {
		task.Duration = defaultDuration
	}
	task.LatestStart = a.ask.now.Add(maxDelay)
	if !a.ask.deadline.IsZero() {
		task.LatestStart = plan.LatestStart(a.ask.deadline, task.Duration)
	}
	missing := "it does not cover the time from " + plan.Clock(a.ask.now) + " on"
	outlook := plan.NewPlanner(a.forecast.Location, a.forecast.Series, missing, terms, a.ask.now, task.LatestStart)
	a.decision = outlook.Decide(task)
}

// take returns what is believed of an issue; the error says why that is nothing.
func take(issue forecast.Document, now time.Time) (*forecast.Snapshot, error) {
	var store forecast.Store
	err := store.Offer(forecast.Source{Name: ""}, issue, now)
	book := store.Snapshot(forecast.Source{Name: ""})
	if len(book.Locations()) > 0 {
		return book, nil
	}
	return nil, err
}

// choose returns the forecast of a location, the only one if it is empty.
func choose(book *forecast.Snapshot, location string) (forecast.Forecast, error) {
	f, ok := book.Forecast(location)
	if !ok && location == "" {
		return f, usageError{errors.New("the forecast has several locations, choose one by --location: " + list(book.Locations()))}
	}
	if !ok {
		return f, wrong("location", location, errors.New("want one that the forecast has: "+list(book.Locations())))
	}
	return f, nil
}

// list prints names; of many, the first twenty.
func list(names []string) string {
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// covers tells what to do if a forecast says nothing about now.
func covers(series *forecast.Series, now time.Time) error {
	from, to := series.Start(), series.End()
	if now.Before(to) && !now.Before(from) {
		return nil
	}
	state := "is over"
	if now.Before(from) {
		state = "has not begun"
	}
	return fmt.Errorf("the forecast %s: it is of %s to %s, and now is %s; plan as of its beginning by --now %s",
		state, plan.Clock(from), plan.Clock(to), plan.Clock(now), from.Format(time.RFC3339))
}
