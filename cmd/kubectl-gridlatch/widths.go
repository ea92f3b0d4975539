package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// widthFlags say how wide the jobs of a back-test may run.
type widthFlags struct{ parallelism, speedup string }

func (w *widthFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&w.parallelism, "parallelism", "", "let jobs run wider where that is cleaner: 2-40 is 2 to 40 pods at once; durations\nand weights are then those of the least")
	flags.StringVar(&w.speedup, "speedup", "", "with --parallelism: how much faster more pods are, such as 1=1,10=8,40=20\n(default: each pod does as much as the first)")
}

// read reads the flags.
func (w *widthFlags) read(r *replay.Replay, set *pflag.FlagSet) error {
	if w.parallelism == "" {
		if set.Changed("speedup") {
			return usageError{errors.New("--speedup is for jobs that may run wider: want it with --parallelism")}
		}
		return nil
	}
	for _, flag := range []string{"interruptible", "ceiling"} {
		if set.Changed(flag) {
			return usageError{fmt.Errorf("--parallelism and --%s: want one of them", flag)}
		}
	}
	var widening backtest.Widening
	var err error
	if widening.Least, widening.Most, err = plan.ParseWidths(w.parallelism); err != nil {
		return wrong("parallelism", w.parallelism, err)
	}
	if widening.Speedup, err = plan.ParseSpeedup(w.speedup); err != nil {
		return wrong("speedup", w.speedup, err)
	}
	if first := widening.Speedup.FirstWidth(); first > widening.Least {
		return wrong("speedup", w.speedup, fmt.Errorf("want a first width of 1 or of the least, %d", widening.Least))
	}
	r.Setup.Widening = &widening
	r.Terms.Widening = &replay.Widening{Parallelism: fmt.Sprintf("%d-%d", widening.Least, widening.Most), Speedup: widening.Speedup.String()}
	return nil
}

// comparing adds the policy that widens nothing, if the user has not chosen the policies.
func (w *widthFlags) comparing(policies []string, set *pflag.FlagSet) []string {
	if w.parallelism == "" || set.Changed("policy") {
		return policies
	}
	return slices.Insert(slices.Clone(policies), 1, string(backtest.Fixed))
}
