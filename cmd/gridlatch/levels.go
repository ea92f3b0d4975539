package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/plan"
)

// levels tell the ceilings what a policy says.
type levels struct {
	policies gating.Policies
	store    *forecast.Store
}

// Level implements ceiling.Policies.
func (l levels) Level(ctx context.Context, name, location string, now time.Time) (plan.Level, forecast.Source, error) {
	policy, err := l.policies.Get(ctx, name)
	if err != nil {
		return plan.Level{}, forecast.Source{}, err
	}
	book := l.store.Snapshot(policy.Source)
	level := policy.Level(book, location, now)
	if location != "" {
		if err := policy.CheckLocation(book, location); err != nil {
			level.Known, level.Missing = false, fmt.Sprintf("location %.80q: %v", location, err)
		}
	}
	return level, policy.Source, nil
}
