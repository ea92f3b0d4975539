package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// simulateFlags are what `simulate` is asked.
type simulateFlags struct {
	actual, forecast, jobs  string
	durations, slacks       []string
	every                   string
	from, to                string
	policies                []string
	ceiling                 string
	waitPrice, minGain      float64
	history                 float64
	actualDelay, issueDelay string
	maxAge                  string
	starts, plot            string
	cells                   bool
	output                  string
}

func newSimulate(e env) *cobra.Command {
	f := &simulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate --actual FILE",
		Short: "Show what waiting would have saved on a real grid",
		Long: `Show what waiting would have saved on a real grid: a back-test, with the planner
and the model that run in production, which learn only from what was known then.

  --actual    CSV timestamp,intensity          what really was, in gCO2eq/kWh
  --forecast  CSV issued,timestamp,intensity   what was forecast, and when
  --jobs      CSV arrival,duration,slack[,weight]
Timestamps are RFC 3339 (UTC, if they have no zone) and begin a slot; slots are as
wide as timestamps are apart. Other columns are ignored, and the usual names are
known, such as those of Electricity Maps' files: datetime, carbon_intensity.
Without a forecast, the past of the grid is all there is to go by.

A row that cannot be read, or is there twice, costs that row. What cannot be true is
not believed, as in a cluster: values that stand for none, such as -1 and -999, and
the zeros of an outage. All that is counted.

A job runs without interruption and starts within its slack. What it emits is
the mean intensity over its run. Without --jobs, a job of each duration with each
slack arrives --every so often, and all these combinations count the same.

Policies:
  gridlatch     what Gridlatch does
  immediate     start at once: what the others are measured against
  oracle        the cleanest window, known in hindsight: nothing is better
  percentile=P  start at or below the P-th percentile of what is predicted
  threshold=G   start at or below G gCO2eq/kWh
  lowest-slot   start in the cleanest slot, however long the job runs
  greedy        gridlatch that does not plan for the ceiling
  foresight     gridlatch with predictions that come true
All of them start a job at the end of its slack at the latest.`,
		Example: `  # Does waiting pay here? Hourly intensities of a few months will do
  kubectl gridlatch simulate --actual DE.actual.csv

  # With the forecasts that there were, and your own jobs
  kubectl gridlatch simulate --actual DE.actual.csv --forecast DE.forecast.csv --jobs nightly.csv

  # No more than 30 jobs at once, or three times as many as run on average
  kubectl gridlatch simulate --actual DE.actual.csv --ceiling 30 --policy gridlatch,greedy,foresight
  kubectl gridlatch simulate --actual DE.actual.csv --ceiling 3x

  # A picture, and every start for checking the sums
  kubectl gridlatch simulate --actual DE.actual.csv --plot DE.png --starts starts.csv`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), e, cmd.Flags()) },
	}
	f.bind(cmd.Flags())
	for _, flag := range []string{"actual", "forecast", "jobs", "starts"} {
		_ = cmd.MarkFlagFilename(flag, "csv") // the flags exist
	}
	return cmd
}

func (f *simulateFlags) bind(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&f.actual, "actual", "", "CSV of what the intensity was; - for standard input")
	flags.StringVar(&f.forecast, "forecast", "", "CSV of what was forecast")
	flags.StringVar(&f.jobs, "jobs", "", "CSV of jobs, instead of --durations, --slacks and --every")
	flags.StringSliceVar(&f.durations, "durations", []string{"1h", "4h", "12h"}, "how long jobs run")
	flags.StringSliceVar(&f.slacks, "slacks", []string{"6h", "12h", "24h", "48h"}, "how long they can wait")
	flags.StringVar(&f.every, "every", "3h", "how often they arrive")
	flags.StringSliceVar(&f.policies, "policy", []string{"gridlatch", "oracle", "percentile=20", "lowest-slot", "immediate"}, "policies to compare; several, or several times")
	flags.StringVar(&f.ceiling, "ceiling", "", "how many jobs may run at once: 30, by intensity 437=110,504=60,*=10, or 3x the mean of immediate")
	flags.StringVar(&f.from, "from", "", "count jobs from this time on (default: as soon as the model has seen --history,\nand 14 days of forecasts)")
	flags.StringVar(&f.to, "to", "", "count jobs before this time (default: the end)")
	flags.Float64Var(&f.waitPrice, "wait-price", 0.1, "by how many percent an hour of waiting makes a start dearer")
	flags.Float64Var(&f.minGain, "min-gain", 1, "do not wait for a saving of fewer percent; with --wait-price 0, 0 is the plain minimum")
	flags.Float64Var(&f.history, "history", 28, "how many days before --from the model has seen; 0 for a cold start")
	flags.StringVar(&f.actualDelay, "actual-delay", "0", "how long after its slot has begun an intensity is known")
	flags.StringVar(&f.issueDelay, "forecast-delay", "0", "how long after it was issued a forecast is received")
	flags.StringVar(&f.maxAge, "max-age", "24h", "trust no forecast that is older")
	flags.BoolVar(&f.cells, "cells", false, "show every duration and slack, too")
	flags.StringVar(&f.starts, "starts", "", "write every job's arrival,duration,slack,start,policy to this CSV")
	flags.StringVar(&f.plot, "plot", "", "draw intensity and work, before and after, into this .png or .svg")
	flags.StringVarP(&f.output, "output", "o", "", "json, or nothing for text")
}

// A simulation is what is asked, read and checked, and what came of it.
type simulation struct {
	flags     *simulateFlags
	setup     backtest.Setup
	forecasts backtest.Forecasts
	policies  []backtest.Policy // asked for
	pooled    bool
	chosen    string // how From came about
	ceiling   string
	result    backtest.Result
	scores    []backtest.Scores // of result.Runs
}

func (f *simulateFlags) run(ctx context.Context, e env, set *pflag.FlagSet) error {
	s, err := f.read(e, set)
	if err != nil {
		return err
	}
	policies := slices.Clone(s.policies)
	for _, kind := range []backtest.Kind{backtest.Oracle, backtest.Immediate} { // to measure by
		if p := (backtest.Policy{Kind: kind}); !slices.Contains(policies, p) {
			policies = append(policies, p)
		}
	}
	progress := newProgress(e)
	s.setup.Progress = progress.show
	s.result, err = s.setup.Run(ctx, policies...)
	progress.end()
	if err != nil {
		return err
	}
	s.scores = s.result.Scores(s.setup.Actuals, s.pooled)
	if err := s.writeFiles(); err != nil {
		return err
	}
	if f.output == "json" {
		return e.stdout.JSON(s.json())
	}
	s.writeText(e.stdout)
	return nil
}

// writeFiles writes the files that are asked for.
func (s *simulation) writeFiles() error {
	if s.flags.starts != "" {
		asked := s.result
		asked.Runs = asked.Runs[:len(s.policies)]
		if err := writeFile(s.flags.starts, asked.WriteStarts); err != nil {
			return err
		}
	}
	if s.flags.plot != "" {
		return writeFile(s.flags.plot, s.draw)
	}
	return nil
}

// writeFile writes a file as others may read it.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// read reads the flags, and the files that they name.
func (f *simulateFlags) read(e env, set *pflag.FlagSet) (*simulation, error) {
	s := &simulation{flags: f}
	if f.actual == "" {
		return nil, usageError{errors.New("want --actual FILE, with the columns timestamp,intensity")}
	}
	if err := errors.Join(f.readNumbers(s), f.readChoices(s, set)); err != nil {
		return nil, err
	}
	var err error
	if s.setup.Actuals, err = readCSV(e, f.actual, backtest.ReadActuals); err != nil {
		return nil, err
	}
	if f.forecast != "" {
		if s.forecasts, err = readCSV(e, f.forecast, backtest.ReadForecasts); err != nil {
			return nil, err
		}
		s.setup.Documents = s.forecasts.Documents
	}
	if f.jobs != "" {
		s.pooled = true
		if s.setup.Jobs, err = readCSV(e, f.jobs, backtest.ReadJobs); err != nil {
			return nil, err
		}
	}
	if err := f.readPeriod(s); err != nil {
		return nil, err
	}
	if !s.pooled {
		if err := f.readGrid(s); err != nil {
			return nil, err
		}
	}
	return s, f.readCeiling(s)
}

// readCSV reads a file.
func readCSV[T any](e env, path string, read func(name string, r io.Reader) (T, error)) (T, error) {
	if path == "-" {
		return read("standard input", e.stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer file.Close()
	return read(path, file)
}

// readNumbers reads the flags that are percentages, days and durations.
func (f *simulateFlags) readNumbers(s *simulation) error {
	if err := errors.Join(wantPercent("wait-price", f.waitPrice), wantPercent("min-gain", f.minGain)); err != nil {
		return err
	}
	s.setup.Terms = plan.Terms{WaitPrice: f.waitPrice / 100, MinGain: f.minGain / 100}
	const most = 3660
	if !(f.history >= 0 && f.history <= most) {
		return wrong("history", strconv.FormatFloat(f.history, 'g', -1, 64), fmt.Errorf("want days from 0 to %d", most))
	}
	s.setup.History = time.Duration(f.history * 24 * float64(time.Hour))
	for _, d := range []struct {
		flag, value string
		into        *time.Duration
	}{
		{"actual-delay", f.actualDelay, &s.setup.ActualDelay},
		{"forecast-delay", f.issueDelay, &s.setup.ForecastDelay},
		{"max-age", f.maxAge, &s.setup.MaxAge},
	} {
		var err error
		if *d.into, err = backtest.ParseSlack(d.value); err != nil {
			return wrong(d.flag, d.value, err)
		}
	}
	return nil
}

// readChoices reads the policies, and checks what must be known before anything is read or run.
func (f *simulateFlags) readChoices(s *simulation, set *pflag.FlagSet) error {
	for _, text := range f.policies {
		p, err := backtest.ParsePolicy(text)
		if err != nil {
			return usageError{fmt.Errorf("--policy: %w", err)}
		}
		if !slices.Contains(s.policies, p) {
			s.policies = append(s.policies, p)
		}
	}
	if len(s.policies) == 0 {
		return usageError{errors.New("--policy: want one at least")}
	}
	if kind := strings.ToLower(filepath.Ext(f.plot)); f.plot != "" && kind != ".png" && kind != ".svg" {
		return wrong("plot", f.plot, errors.New("want a file that ends in .png or .svg"))
	}
	for _, flag := range []string{"durations", "slacks", "every", "cells"} {
		if f.jobs != "" && set.Changed(flag) {
			return usageError{fmt.Errorf("--%s is about jobs that are made up: want it without --jobs", flag)}
		}
	}
	return wantOutput(f.output)
}

// readPeriod reads From and To, or chooses them.
func (f *simulateFlags) readPeriod(s *simulation) error {
	var err error
	if s.setup.To = s.setup.Actuals.Series.End(); f.to != "" {
		if s.setup.To, err = parseDay(f.to); err != nil {
			return wrong("to", f.to, err)
		}
	}
	if f.from != "" {
		if s.setup.From, err = parseDay(f.from); err != nil {
			return wrong("from", f.from, err)
		}
	} else {
		s.setup.From, s.chosen = begin(s)
	}
	if !s.setup.From.Before(s.setup.To) {
		return usageError{fmt.Errorf("--from %s must be before --to %s", plan.FormatTime(s.setup.From), plan.FormatTime(s.setup.To))}
	}
	return nil
}

// begin chooses From, and says why.
func begin(s *simulation) (time.Time, string) {
	if s.pooled {
		first := slices.MinFunc(s.setup.Jobs, func(a, b backtest.Job) int { return a.Arrival.Compare(b.Arrival) })
		return first.Arrival, "when the first job arrives"
	}
	const enough = 14 * 24 * time.Hour // of forecasts
	start, to := s.setup.Actuals.Series.Start(), s.setup.To
	from, why := start.Add(s.setup.History), "after the history"
	if len(s.setup.Documents) > 0 {
		if heard := s.setup.Documents[0].Issued.Add(min(enough, s.setup.History)); heard.After(start) {
			from, why = heard, "after 14 days of forecasts"
		}
	}
	if half := start.Add(to.Sub(start) / 2).Truncate(24 * time.Hour); s.setup.History > 0 && from.After(half) && len(s.setup.Documents) == 0 {
		from, why = half, "the later half, since there is little data"
	}
	if s.setup.History == 0 {
		why = "from a cold start"
	}
	return from, why
}

// parseDay reads an instant, or a day in UTC.
func parseDay(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("want RFC 3339 or a day, such as 2021-07-15T00:00:00Z or 2021-07-15")
}

// readGrid makes up the jobs.
func (f *simulateFlags) readGrid(s *simulation) error {
	every, err := plan.ParseDuration(f.every)
	if err != nil {
		return wrong("every", f.every, err)
	}
	durations, err := parseEach("durations", f.durations, plan.ParseDuration)
	if err != nil {
		return err
	}
	slacks, err := parseEach("slacks", f.slacks, backtest.ParseSlack)
	if err != nil {
		return err
	}
	if s.setup.Jobs, err = backtest.RegularJobs(s.setup.From, s.setup.To, every, durations, slacks); err != nil {
		return usageError{fmt.Errorf("--every %s: %w", f.every, err)}
	}
	return nil
}

// parseEach reads a list of distinct durations.
func parseEach(flag string, texts []string, parse func(string) (time.Duration, error)) ([]time.Duration, error) {
	var all []time.Duration
	for _, text := range texts {
		d, err := parse(text)
		if err != nil {
			return nil, wrong(flag, text, err)
		}
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return nil, usageError{fmt.Errorf("--%s: want one at least", flag)}
	}
	return all, nil
}

// readCeiling reads buckets, or a multiple of the mean.
func (f *simulateFlags) readCeiling(s *simulation) error {
	text := strings.TrimSpace(f.ceiling)
	if text == "" {
		return nil
	}
	if multiple, ok := strings.CutSuffix(text, "x"); ok {
		factor, err := strconv.ParseFloat(multiple, 64)
		if err != nil || !(factor > 0 && factor <= 1000) {
			return wrong("ceiling", f.ceiling, errors.New("want a multiple of the mean above 0 and up to 1000, such as 3x"))
		}
		text = strconv.Itoa(max(int(factor*backtest.MeanConcurrency(s.setup.Jobs)+0.5), 1))
	}
	var err error
	if s.setup.Ceiling, err = plan.ParseBuckets(text); err != nil {
		return wrong("ceiling", f.ceiling, err)
	}
	s.ceiling = text
	return nil
}
