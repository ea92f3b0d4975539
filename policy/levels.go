package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Levels tells the level of a location by the name of a policy. Both fields are required.
type Levels struct {
	Policies Policies
	Store    *forecast.Store
}

// Level returns what holds at a location of a policy at now, and the source of the policy's
// forecast. An empty location is the policy's first. The level of a location that the policy does
// not have is not known, and Missing says why. The error is that of [Policies.Get].
func (l Levels) Level(ctx context.Context, name, location string, now time.Time) (plan.Level, forecast.Source, error) {
	policy, err := l.Policies.Get(ctx, name)
	if err != nil {
		return plan.Level{}, forecast.Source{}, err
	}
	snapshot := l.Store.Snapshot(policy.Source)
	level := policy.Level(snapshot, location, now)
	if location != "" {
		if err := policy.CheckLocation(snapshot, location); err != nil {
			level.IsKnown, level.UnknownReason = false, fmt.Sprintf("location %.80q: %v", location, err)
		}
	}
	return level, policy.Source, nil
}
