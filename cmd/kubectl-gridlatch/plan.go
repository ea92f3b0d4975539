package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/offline"
	"github.com/gridlatch/gridlatch/plan"
)

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

	policy     string
	connection connection
	provider   providerFlags
}

func newPlan(e env) *cobra.Command {
	f := &planFlags{}
	cmd := &cobra.Command{
		Use:   "plan [FORECAST]",
		Short: "Show when work would start by a forecast, and why",
		Long: `Show when work would start by a forecast, why, and what that saves against
starting at once.

FORECAST is a file, or - for standard input. The file has one of:
  - the JSON array of the carbon-intensity exporter, with the duration in minutes
    and the value in gCO2eq/kWh:
    [{"location":"CAISO_NORTH","timestamp":"2026-11-21T00:00:00Z","duration":60,"value":430}, …]
  - the manifest of the ConfigMap that holds this array, in YAML or JSON.
Without FORECAST, the CarbonPolicy and its forecast are read from the cluster. With
--provider, the forecast as it is now is fetched from there, with eight weeks of the
past. No cluster is needed then.

Values that cannot be true are ignored, and a warning names them: values that
stand for a missing one, such as -1 and -999, zeros where the grid does not come
near zero, and the zeros that fill up the day after an outage.

A file is used as it is. In a cluster, Gridlatch corrects the forecast by what it
has learned of the grid. This command does so, too, if you may read that, or by the
past that a provider gives. If a provider has no forecast, the plan is by the past.

` + providerHelp,
		Example: `  # A job of two hours that has to be finished by six in the morning
  kubectl gridlatch plan forecast.json --duration 2h --deadline '06:00 Europe/Berlin'

  # A forecast of last week
  kubectl gridlatch plan forecast.json --now 2026-11-21T21:00:00Z --deadline 12h

  # The forecast that a provider has now
  kubectl gridlatch plan --provider energy-charts --zone DE --duration 2h --deadline 24h
  kubectl gridlatch plan --region eu-central-1 --deadline 8h

  # The forecast that the cluster has now
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
	f.bind(cmd)
	return cmd
}

func (f *planFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.file, "forecast", "f", "", "the same as FORECAST")
	flags.StringVar(&f.duration, "duration", "", "how long the work runs: 90m, 2h, PT2H (default: that of the policy, 1h)")
	flags.StringVar(&f.deadline, "deadline", "", deadlineForms+"\n"+
		"(default: none; the work starts within the policy's maxDelay, 24h)")
	flags.StringVar(&f.threshold, "threshold", "", "start as soon as the work would run at this carbon intensity or below, in gCO2eq/kWh")
	flags.StringVar(&f.location, "location", "", "location of the forecast; needed if the forecast has several")
	flags.StringVar(&f.now, "now", "", "plan as if it were this moment, in RFC 3339 (default: the clock)")
	flags.Float64Var(&f.waitPrice, "wait-price", 0.1, "by how many percent each hour of waiting makes a start more expensive")
	flags.Float64Var(&f.minGain, "min-gain", 1, "do not wait if that saves fewer percent")
	flags.StringVar(&f.key, "key", "data", "key of the ConfigMap that has the forecast")
	flags.StringVarP(&f.output, "output", "o", "", "json; text if not given")
	flags.StringVar(&f.policy, "policy", "default", "without FORECAST: the CarbonPolicy to plan by")
	flags.StringVar(&f.connection.kubeconfig, "kubeconfig", "", "without FORECAST: path of the kubeconfig")
	flags.StringVar(&f.connection.overrides.CurrentContext, "context", "", "without FORECAST: context of the kubeconfig")
	f.connection.bindSystem(flags)
	f.provider.bind(cmd)
}

func (f *planFlags) run(ctx context.Context, e env, set *pflag.FlagSet) error {
	question, err := f.question(e)
	if err != nil {
		return err
	}
	var answered answer.Plan
	switch {
	case f.provider.isAsked():
		answered, err = f.provided(ctx, e, set, question)
	case f.file != "":
		answered, err = f.offline(e, set, question)
	default:
		answered, err = f.live(ctx, e, set, question)
	}
	if err != nil {
		return err
	}
	e.warn(answered.Warnings)
	if f.output == "json" {
		return e.stdout.JSON(answered.Report())
	}
	e.page().Plan(answered)
	return nil
}

// question reads the flags.
func (f *planFlags) question(e env) (answer.Question, error) {
	q := answer.Question{Now: e.now().UTC().Truncate(time.Second), Location: f.location}
	var err error
	if f.now != "" {
		if q.Now, err = time.Parse(time.RFC3339, f.now); err != nil {
			return q, wrong("now", f.now, errors.New("want RFC 3339, such as 2026-11-21T21:00:00Z"))
		}
		q.Now = q.Now.UTC()
	}
	if f.duration != "" {
		if q.Duration, err = plan.ParseDuration(f.duration); err != nil {
			return q, wrong("duration", f.duration, err)
		}
	}
	if f.deadline != "" {
		if q.Deadline, err = plan.ParseDeadline(f.deadline, q.Now); err != nil {
			return q, wrong("deadline", f.deadline, err)
		}
	}
	if f.threshold != "" {
		threshold, err := plan.ParseIntensity(f.threshold)
		if err != nil {
			return q, wrong("threshold", f.threshold, err)
		}
		q.Threshold = &threshold
	}
	if err := wantPercent("wait-price", f.waitPrice); err != nil {
		return q, err
	}
	if err := wantPercent("min-gain", f.minGain); err != nil {
		return q, err
	}
	return q, wantOutput(f.output)
}

// wantPercent checks a percentage.
func wantPercent(flag string, value float64) error {
	if !(value >= 0 && value <= 100) {
		return wrong(flag, strconv.FormatFloat(value, 'g', -1, 64), errors.New("want percent from 0 to 100"))
	}
	return nil
}

func wantCaution(value float64) error {
	if !(value >= 0 && value <= 10) {
		return wrong("caution", strconv.FormatFloat(value, 'g', -1, 64), errors.New("want a number from 0 to 10"))
	}
	return nil
}

// offline plans by a file.
func (f *planFlags) offline(e env, set *pflag.FlagSet, question answer.Question) (answer.Plan, error) {
	if err := errors.Join(checkNoCluster(set, "FORECAST"), f.provider.checkUnused(set)); err != nil {
		return answer.Plan{}, err
	}
	file := offline.File{Name: f.file, Stdin: e.stdin, Key: f.key}
	answered, err := offline.Plan(file, question, f.terms())
	if _, ok := errors.AsType[offline.LocationError](err); ok && f.location == "" {
		return answered, usageError{fmt.Errorf("--location is needed: %w", err)}
	} else if ok {
		return answered, wrong("location", f.location, err)
	}
	if period, ok := errors.AsType[offline.PeriodError](err); ok {
		return answered, fmt.Errorf("%w; to plan as of the beginning of the forecast: --now %s", err, period.From.Format(time.RFC3339))
	}
	return answered, err
}

// terms returns what the flags say of waiting.
func (f *planFlags) terms() plan.Terms {
	return plan.Terms{MinGain: f.minGain / 100, WaitPrice: f.waitPrice / 100}
}

// checkNoCluster refuses the flags that are for reading from the cluster.
func checkNoCluster(set *pflag.FlagSet, source string) error {
	for _, flag := range []string{"policy", "kubeconfig", "context", "gridlatch-namespace"} {
		if set.Changed(flag) {
			return usageError{fmt.Errorf("--%s is for reading from the cluster: want it without %s", flag, source)}
		}
	}
	return nil
}

// provided plans by what a provider says now. A provider that makes the values up knows any moment.
func (f *planFlags) provided(ctx context.Context, e env, set *pflag.FlagSet, question answer.Question) (answer.Plan, error) {
	if err := errors.Join(checkNoCluster(set, "--provider"), f.checkProvided(set)); err != nil {
		return answer.Plan{}, err
	}
	clock := e.now
	if f.now != "" {
		clock = func() time.Time { return question.Now }
	}
	zone, err := f.provider.open(e, clock)
	if err != nil {
		return answer.Plan{}, err
	}
	if f.now != "" && !zone.Provider.Describe().IsMadeUp {
		return answer.Plan{}, wrong("now", f.now, errors.New("a provider knows the forecast as it is now: want --now without --provider, or with the provider mock"))
	}
	progress := e.progress("fetching")
	defer progress.End()
	answered, err := offline.PlanZone(ctx, zone, question, f.terms(), telling(progress, zone))
	return answered, f.provider.explain(err, zone)
}

// checkProvided refuses the flags that are of no use with a provider.
func (f *planFlags) checkProvided(set *pflag.FlagSet) error {
	switch {
	case f.file != "":
		return usageError{errors.New("want FORECAST or --provider, not both")}
	case set.Changed("location"):
		return usageError{errors.New("--location is for a forecast with several locations: want --zone with --provider")}
	case set.Changed("key"):
		return usageError{errors.New("--key is the key of a ConfigMap: want the key of a provider in the environment, or in a file that --key-file names")}
	}
	return nil
}

// live plans by the policy and the forecast of the cluster.
func (f *planFlags) live(ctx context.Context, e env, set *pflag.FlagSet, question answer.Question) (answer.Plan, error) {
	if err := f.provider.checkUnused(set); err != nil {
		return answer.Plan{}, err
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return answer.Plan{}, fmt.Errorf("no FORECAST is given: %w", err)
	}
	return c.Plan(ctx, question, f.policy, f.edit(set))
}

// edit returns what makes of a policy the one that the flags say.
func (f *planFlags) edit(set *pflag.FlagSet) func(*v1alpha1.CarbonPolicySpec) {
	percent := func(value float64) v1alpha1.Percentage {
		return v1alpha1.Percentage(strconv.FormatFloat(value, 'f', -1, 64))
	}
	return func(spec *v1alpha1.CarbonPolicySpec) {
		if set.Changed("wait-price") {
			spec.WaitPricePercentPerHour = percent(f.waitPrice)
		}
		if set.Changed("min-gain") {
			spec.MinGainPercent = percent(f.minGain)
		}
		if set.Changed("key") {
			spec.Forecast.ConfigMap.Key = f.key
		}
	}
}
