package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// pauseFlags say how the jobs of a back-test can be interrupted.
type pauseFlags struct {
	interruptible       bool
	restartCost, minRun string
	segments            int
}

func (p *pauseFlags) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&p.interruptible, "interruptible", false, "let jobs be paused, to run later where that is cleaner")
	flags.StringVar(&p.restartCost, "restart-cost", "5m", "with --interruptible: the run time that each resume costs; can be 0")
	flags.IntVar(&p.segments, "segments", plan.MaxRuns, fmt.Sprintf("with --interruptible: in how many runs a job is done at most; up to %d", plan.MaxRuns))
	flags.StringVar(&p.minRun, "min-run", "30m", "with --interruptible: how long each run lasts at least; can be 0")
}

// read reads the flags.
func (p *pauseFlags) read(r *replay.Replay, set *pflag.FlagSet) error {
	if !p.interruptible {
		for _, flag := range []string{"restart-cost", "segments", "min-run"} {
			if set.Changed(flag) {
				return usageError{fmt.Errorf("--%s is for jobs that can be paused: want it with --interruptible", flag)}
			}
		}
		return nil
	}
	pausing := backtest.Pausing{Runs: p.segments}
	var err error
	if pausing.RestartCost, err = backtest.ParseSlack(p.restartCost); err != nil {
		return wrong("restart-cost", p.restartCost, err)
	}
	if pausing.MinRun, err = backtest.ParseSlack(p.minRun); err != nil {
		return wrong("min-run", p.minRun, err)
	}
	if p.segments < 2 || p.segments > plan.MaxRuns {
		return wrong("segments", strconv.Itoa(p.segments), errors.New("want 2 or "+strconv.Itoa(plan.MaxRuns)))
	}
	r.Setup.Pausing = &pausing
	r.Terms.Pausing = &replay.Pausing{
		RestartCost: plan.FormatDuration(pausing.RestartCost), MinRun: plan.FormatDuration(pausing.MinRun), Segments: pausing.Runs,
	}
	return nil
}

// comparing adds the policy that makes no pauses, if the user has not chosen the policies.
func (p *pauseFlags) comparing(policies []string, set *pflag.FlagSet) []string {
	if !p.interruptible || set.Changed("policy") {
		return policies
	}
	return slices.Insert(slices.Clone(policies), 1, string(backtest.Uninterrupted))
}
