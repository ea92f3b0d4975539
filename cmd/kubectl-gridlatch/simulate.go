package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const (
	maxHistoryDays    = 3660
	maxCeilingFactor  = 1000
	ceilingFactorUnit = "x"
)

type simulateFlags struct {
	provider                   providerFlags
	span                       spanFlags
	files                      replay.Files
	invented                   replay.Invented
	terms                      replay.Terms
	pauses                     pauseFlags
	widths                     widthFlags
	from, to                   string
	policies                   []string
	actualDelay, forecastDelay string
	weatherDelay               string
	maxAge                     string
	starts, plot               string
	withCells                  bool
	output                     string
}

// simulateHelp explains the command, but for the providers.
const simulateHelp = `Show what waiting would have saved on a real grid. This is a back-test with the
planner and the model that run in production. At each moment, they know only what
was known then. The past of the grid comes from a file, or from a provider.

  --actual    CSV timestamp,intensity            what really was, in gCO2eq/kWh
  --forecast  CSV issued,timestamp,intensity     what was forecast, and when
  --weather   CSV issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation
              what weather was forecast, and when, in m/s, degrees Celsius and W/m2; also
              wind_share,solar_share: what the operator expected of both, as shares of
              the load
  --jobs      CSV arrival,duration,slack[,weight]
A timestamp is the beginning of a slot, in RFC 3339 (UTC, if it has no zone). A slot is
as long as the timestamps are apart. Other columns are ignored. The usual names of
columns are known, such as those in files of Electricity Maps: datetime,
carbon_intensity.
Without --forecast, the model has only the past of the grid. With --weather, the model
makes a forecast of its own: it learns how the intensity answers to the weather. Of the
last three columns of the weather, one is enough. Wind at 100 m is better than at 10 m.

A row that cannot be read is left out. If a row comes twice, the first one counts. As in
a cluster, values that cannot be true are ignored: values that stand for a missing one,
such as -1 and -999, and the zeros of an outage. The output counts all of these.

A job runs without interruption, and starts within its slack. Its emissions are the
mean intensity over its run. Without --jobs, a job of each duration with each slack
arrives again and again (see --every), and each combination counts the same.

With --interruptible, jobs can be paused. They are done at the latest when they would be
done if they had started at the end of their slack and had run through. Each resume costs
run time (--restart-cost), which emits like the rest.

With --parallelism 2-40, jobs run with 2 to 40 pods at once. A duration is then the one
with 2 pods. The jobs are done as early as with --interruptible, and run without a break.

Policies (--policy):
  gridlatch     what Gridlatch does
  immediate     start at once; the others are compared with this
  oracle        the cleanest start, known in hindsight; nothing is better
  percentile=P  start at or below the P-th percentile of what is predicted
  threshold=G   start at or below G gCO2eq/kWh
  lowest-slot   start in the cleanest slot, however long the job runs
  greedy        gridlatch, but without planning ahead for the ceiling
  foresight     gridlatch with predictions that come true
  uninterrupted gridlatch without pauses, for comparison
  fixed         gridlatch with the least pods that --parallelism allows, for comparison
Each policy starts a job at the end of its slack at the latest. With --interruptible,
gridlatch, oracle, greedy and foresight pause jobs, and the others do not. With
--parallelism, gridlatch, oracle and foresight set how many pods run, and the others do not.

With --provider, the past is fetched from there. Providers do not keep their past
forecasts, so that the model has the past only. In a cluster, the model also has the
forecasts as they come. To see what they are worth, collect them for some weeks (fetch
--forecast), and give them to --forecast.

`

func newSimulate(e env) *cobra.Command {
	f := &simulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate {--actual FILE | --provider NAME --zone ZONE}",
		Short: "Show what waiting would have saved on a real grid",
		Long:  simulateHelp + providerHelp,
		Example: `  # What would waiting save in Frankfurt?
  kubectl gridlatch simulate --region eu-central-1
  kubectl gridlatch simulate --provider energy-charts --zone DE --since 90d

  # The same, by a file: hourly intensities of a few months are enough
  kubectl gridlatch simulate --actual DE.actual.csv

  # With the forecasts of that time, and your own jobs
  kubectl gridlatch simulate --actual DE.actual.csv --forecast DE.forecast.csv --jobs nightly.csv

  # Without a provider's forecast, but with the forecasts of the weather
  kubectl gridlatch simulate --actual DE.actual.csv --weather DE.weather.csv

  # No more than 30 jobs at once, or three times as many as run on average
  kubectl gridlatch simulate --actual DE.actual.csv --ceiling 30 --policy gridlatch,greedy,foresight
  kubectl gridlatch simulate --actual DE.actual.csv --ceiling 3x

  # Jobs that can be paused, twice at most, where each resume costs ten minutes
  kubectl gridlatch simulate --actual DE.actual.csv --interruptible --restart-cost 10m --segments 3

  # Jobs that may run four times as wide, with pods that are less and less useful
  kubectl gridlatch simulate --actual DE.actual.csv --parallelism 10-40 --speedup 10=8,40=26

  # A picture, and a list of all starts for checking the sums
  kubectl gridlatch simulate --actual DE.actual.csv --plot DE.png --starts starts.csv`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), e, cmd.Flags()) },
	}
	f.bind(cmd)
	for _, flag := range []string{"actual", "forecast", "weather", "jobs", "starts"} {
		_ = cmd.MarkFlagFilename(flag, "csv") // the flags exist
	}
	return cmd
}

func (f *simulateFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.files.Actual, "actual", "", "CSV of the intensities that were; - for standard input")
	flags.StringVar(&f.files.Forecast, "forecast", "", "CSV of the forecasts")
	flags.StringVar(&f.files.Weather, "weather", "", "CSV of the forecasts of the weather")
	flags.StringVar(&f.files.Jobs, "jobs", "", "CSV of jobs, in place of --durations, --slacks and --every")
	flags.StringSliceVar(&f.invented.Durations, "durations", []string{"1h", "4h", "12h"}, "how long jobs run")
	flags.StringSliceVar(&f.invented.Slacks, "slacks", []string{"6h", "12h", "24h", "48h"}, "how long jobs can wait")
	flags.StringVar(&f.invented.Every, "every", "3h", "how often jobs arrive")
	flags.StringSliceVar(&f.policies, "policy", []string{"gridlatch", "oracle", "percentile=20", "lowest-slot", "immediate"}, "policies to compare; can be given several times")
	flags.StringVar(&f.terms.Ceiling, "ceiling", "", "how many jobs may run at once: 30; by intensity 437=110,504=60,*=10;\nor 3x, three times the mean of immediate")
	f.pauses.bind(flags)
	f.widths.bind(flags)
	flags.StringVar(&f.from, "from", "", "count jobs from this time on (default: as soon as the model has seen --history,\nand 14 days of forecasts)")
	flags.StringVar(&f.to, "to", "", "count jobs before this time (default: the end)")
	flags.Float64Var(&f.terms.WaitPrice, "wait-price", 0.1, "by how many percent each hour of waiting makes a start more expensive")
	flags.Float64Var(&f.terms.MinGain, "min-gain", 1, "do not wait if that saves fewer percent; with --wait-price 0, 0 always\nchooses the cleanest start")
	flags.Float64Var(&f.terms.Caution, "caution", 0.25, "do not wait for a gain below this many times the usual error of the forecast")
	flags.Float64Var(&f.terms.HistoryDays, "history", 28, "how many days before --from the model has seen; 0 for a cold start")
	flags.StringVar(&f.actualDelay, "actual-delay", "0", "how long after the beginning of its slot an intensity is known")
	flags.StringVar(&f.forecastDelay, "forecast-delay", "0", "how long after it was issued a forecast is received")
	flags.StringVar(&f.weatherDelay, "weather-delay", "6h", "how long after it was issued a forecast of the weather is received")
	flags.StringVar(&f.maxAge, "max-age", "24h", "do not use a forecast that is older")
	flags.BoolVar(&f.withCells, "cells", false, "also show each duration and slack")
	flags.StringVar(&f.starts, "starts", "", "write arrival,duration,slack,start,policy of every job to this CSV; and the end\nof each run, if jobs can be paused or run wider")
	flags.StringVar(&f.plot, "plot", "", "draw the intensity and the jobs, before and after, into this .png or .svg")
	flags.StringVarP(&f.output, "output", "o", "", "json; text if not given")
	f.provider.bind(cmd)
	f.span.bind(flags)
}

func (f *simulateFlags) run(ctx context.Context, e env, set *pflag.FlagSet) error {
	r, err := f.read(ctx, e, set)
	if err != nil {
		return err
	}
	progress := e.progress("replaying")
	err = r.Run(ctx, progress.Share)
	progress.End()
	if err != nil {
		return err
	}
	if err := f.writeFiles(r); err != nil {
		return err
	}
	if f.output == "json" {
		return e.stdout.JSON(r.Report(f.withCells))
	}
	e.page().Replay(r, f.withCells)
	return nil
}

// writeFiles writes the files that are asked for.
func (f *simulateFlags) writeFiles(r *replay.Replay) error {
	if f.starts != "" {
		if err := writeFile(f.starts, r.WriteStarts); err != nil {
			return err
		}
	}
	if f.plot == "" {
		return nil
	}
	return writeFile(f.plot, func(w io.Writer) error { return render.Picture(w, r, f.plotKind() == ".svg") })
}

// plotKind returns the ending of the name of the picture.
func (f *simulateFlags) plotKind() string { return strings.ToLower(filepath.Ext(f.plot)) }

// read reads the flags, and the files that they name, or asks the provider that they name.
func (f *simulateFlags) read(ctx context.Context, e env, set *pflag.FlagSet) (*replay.Replay, error) {
	r := &replay.Replay{Files: f.files, Invented: f.invented, Terms: f.terms}
	if err := errors.Join(f.checkSource(set), f.readNumbers(r), f.pauses.read(r, set), f.widths.read(r, set), f.readChoices(r, set)); err != nil {
		return nil, err
	}
	if f.provider.isAsked() {
		if err := f.ask(ctx, e, r); err != nil {
			return nil, err
		}
	}
	if err := r.Read(e.stdin); err != nil {
		return nil, err
	}
	if err := f.readPeriod(r); err != nil {
		return nil, err
	}
	if !r.Pooled {
		if err := f.inventJobs(r); err != nil {
			return nil, err
		}
	}
	return r, f.readCeiling(r)
}

// checkSource checks that the past comes from a file or from a provider.
func (f *simulateFlags) checkSource(set *pflag.FlagSet) error {
	switch {
	case f.provider.isAsked() && f.files.Actual != "":
		return usageError{errors.New("want --actual or --provider, not both")}
	case f.provider.isAsked():
		return nil
	case f.files.Actual == "":
		return usageError{errors.New("want --actual FILE, with the columns timestamp,intensity; or --provider and --zone; or --region")}
	}
	for _, flag := range f.span.names() {
		if set.Changed(flag) {
			return usageError{fmt.Errorf("--%s is for the past of a provider: want it without --actual", flag)}
		}
	}
	return f.provider.checkUnused(set)
}

// ask fetches the past from the provider.
func (f *simulateFlags) ask(ctx context.Context, e env, r *replay.Replay) error {
	zone, err := f.provider.open(e, e.now)
	if err != nil {
		return err
	}
	data, err := f.span.fetch(ctx, e, zone)
	if err != nil {
		return f.provider.explain(err, zone)
	}
	e.warn(data.Remarks())
	r.Provided = &data
	return nil
}

// readNumbers reads the flags that are percentages, days and durations.
func (f *simulateFlags) readNumbers(r *replay.Replay) error {
	if err := errors.Join(wantPercent("wait-price", f.terms.WaitPrice), wantPercent("min-gain", f.terms.MinGain), wantCaution(f.terms.Caution)); err != nil {
		return err
	}
	r.Setup.Terms = plan.Terms{WaitPrice: f.terms.WaitPrice / 100, MinGain: f.terms.MinGain / 100, Caution: f.terms.Caution}
	if days := f.terms.HistoryDays; !(days >= 0 && days <= maxHistoryDays) {
		return wrong("history", strconv.FormatFloat(days, 'g', -1, 64), fmt.Errorf("want days from 0 to %d", maxHistoryDays))
	}
	r.Setup.History = time.Duration(f.terms.HistoryDays * 24 * float64(time.Hour))
	for _, d := range []struct {
		flag, value string
		into        *time.Duration
	}{
		{"actual-delay", f.actualDelay, &r.Setup.ActualDelay},
		{"forecast-delay", f.forecastDelay, &r.Setup.ForecastDelay},
		{"weather-delay", f.weatherDelay, &r.Setup.WeatherDelay},
		{"max-age", f.maxAge, &r.Setup.MaxAge},
	} {
		var err error
		if *d.into, err = backtest.ParseSlack(d.value); err != nil {
			return wrong(d.flag, d.value, err)
		}
	}
	return nil
}

// readChoices reads the policies, and checks the flags that are of no use later.
func (f *simulateFlags) readChoices(r *replay.Replay, set *pflag.FlagSet) error {
	for _, text := range f.widths.comparing(f.pauses.comparing(f.policies, set), set) {
		p, err := backtest.ParsePolicy(text)
		if err != nil {
			return usageError{fmt.Errorf("--policy: %w", err)}
		}
		if !slices.Contains(r.Policies, p) {
			r.Policies = append(r.Policies, p)
		}
	}
	if len(r.Policies) == 0 {
		return usageError{errors.New("--policy: want at least one")}
	}
	if kind := f.plotKind(); f.plot != "" && kind != ".png" && kind != ".svg" {
		return wrong("plot", f.plot, errors.New("want a file whose name ends in .png or .svg"))
	}
	for _, flag := range []string{"durations", "slacks", "every", "cells"} {
		if f.files.Jobs != "" && set.Changed(flag) {
			return usageError{fmt.Errorf("--%s is for jobs that are made up: want it without --jobs", flag)}
		}
	}
	return wantOutput(f.output)
}

// readPeriod reads from when until when jobs count, or chooses that.
func (f *simulateFlags) readPeriod(r *replay.Replay) error {
	var err error
	if r.Setup.To = r.Setup.Actuals.Series.End(); f.to != "" {
		if r.Setup.To, err = parseDay(f.to); err != nil {
			return wrong("to", f.to, err)
		}
	}
	if f.from == "" {
		r.Begin()
	} else if r.Setup.From, err = parseDay(f.from); err != nil {
		return wrong("from", f.from, err)
	}
	if !r.Setup.From.Before(r.Setup.To) {
		return usageError{fmt.Errorf("--from %s must be before --to %s", plan.FormatTime(r.Setup.From), plan.FormatTime(r.Setup.To))}
	}
	return nil
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

// inventJobs makes up the jobs.
func (f *simulateFlags) inventJobs(r *replay.Replay) error {
	every, err := plan.ParseDuration(f.invented.Every)
	if err != nil {
		return wrong("every", f.invented.Every, err)
	}
	durations, err := parseEach("durations", f.invented.Durations, plan.ParseDuration)
	if err != nil {
		return err
	}
	slacks, err := parseEach("slacks", f.invented.Slacks, backtest.ParseSlack)
	if err != nil {
		return err
	}
	if r.Setup.Jobs, err = backtest.RegularJobs(r.Setup.From, r.Setup.To, every, durations, slacks); err != nil {
		return usageError{fmt.Errorf("--every %s: %w", f.invented.Every, err)}
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
		return nil, usageError{fmt.Errorf("--%s: want at least one", flag)}
	}
	return all, nil
}

// readCeiling reads buckets, or a multiple of the mean.
func (f *simulateFlags) readCeiling(r *replay.Replay) error {
	text := strings.TrimSpace(f.terms.Ceiling)
	if r.Terms.Ceiling = text; text == "" {
		return nil
	}
	if multiple, ok := strings.CutSuffix(text, ceilingFactorUnit); ok {
		factor, err := strconv.ParseFloat(multiple, 64)
		if err != nil || !(factor > 0 && factor <= maxCeilingFactor) {
			return wrong("ceiling", f.terms.Ceiling, fmt.Errorf("want a multiple of the mean above 0 and up to %d, such as 3x", maxCeilingFactor))
		}
		r.Terms.Ceiling = strconv.Itoa(max(int(factor*backtest.MeanConcurrency(r.Setup.Jobs)+0.5), 1))
	}
	var err error
	if r.Setup.Ceiling, err = plan.ParseBuckets(r.Terms.Ceiling); err != nil {
		return wrong("ceiling", f.terms.Ceiling, err)
	}
	return nil
}
