package backtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gridlatch/gridlatch/plan"
)

// Kind is a rule for when to start.
type Kind string

// The rules. Under all of them a job starts at its latest start, if not before.
const (
	// Gridlatch is the planner of production, with the predictions of the model of production.
	Gridlatch Kind = "gridlatch"
	// Uninterrupted is Gridlatch for jobs that cannot be interrupted, though these can.
	Uninterrupted Kind = "uninterrupted"
	// Fixed is Gridlatch for jobs that run at their least width, though these could run wider.
	Fixed Kind = "fixed"
	// Immediate starts every job when it arrives.
	Immediate Kind = "immediate"
	// Oracle starts every job in the cleanest window there was, or in the cleanest runs if jobs can be
	// interrupted, or at the cleanest widths if they can run wider, and ignores ceilings. No rule can do
	// better.
	Oracle Kind = "oracle"
	// AtThreshold starts a job as soon as the intensity is at or below a fixed one.
	AtThreshold Kind = "threshold"
	// AtPercentile starts a job as soon as the intensity is at or below a percentile of the
	// intensities that are predicted until the job's latest start.
	AtPercentile Kind = "percentile"
	// LowestSlot starts a job in the slot that is predicted to be the cleanest until the job's
	// latest start, however long the job runs.
	LowestSlot Kind = "lowest-slot"
	// Greedy starts every job at the hour that is best for it alone, if there is room then. It is
	// Gridlatch without planning for the ceiling.
	Greedy Kind = "greedy"
	// Foresight is Gridlatch with predictions that come true.
	Foresight Kind = "foresight"
)

// Policy is a rule with its number.
type Policy struct {
	Kind Kind
	// Value is the threshold in gCO2eq/kWh, or the percentile in 0..100.
	Value float64
}

// String returns the policy as [ParsePolicy] reads it.
func (p Policy) String() string {
	switch p.Kind {
	case AtThreshold, AtPercentile:
		return string(p.Kind) + "=" + strconv.FormatFloat(p.Value, 'f', -1, 64)
	default:
		return string(p.Kind)
	}
}

// ParsePolicy reads a policy: gridlatch, uninterrupted, fixed, immediate, oracle, lowest-slot, greedy,
// foresight, threshold=G or percentile=P.
func ParsePolicy(s string) (Policy, error) {
	name, value, has := strings.Cut(strings.TrimSpace(s), "=")
	p := Policy{Kind: Kind(name)}
	var err error
	switch p.Kind {
	case Gridlatch, Uninterrupted, Fixed, Immediate, Oracle, LowestSlot, Greedy, Foresight:
		if has {
			return Policy{}, fmt.Errorf("policy %q: want no number for %s", s, name)
		}
	case AtThreshold:
		if p.Value, err = plan.ParseIntensity(value); err != nil {
			return Policy{}, fmt.Errorf("policy %q: %w", s, err)
		}
	case AtPercentile:
		p.Value, err = strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(p.Value) || p.Value < 0 || p.Value > 100 {
			return Policy{}, fmt.Errorf("policy %q: want a percentile from 0 to 100, such as percentile=20", s)
		}
	default:
		return Policy{}, fmt.Errorf("unknown policy %q: want gridlatch, immediate, oracle, threshold=G, percentile=P, lowest-slot, greedy, foresight, uninterrupted or fixed", s)
	}
	return p, nil
}
