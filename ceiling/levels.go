package ceiling

import (
	"context"
	"maps"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Policies know what a CarbonPolicy says.
type Policies interface {
	// Level returns what a policy says at a location, and the source of the policy's
	// forecast. An empty location is the first one of the policy. The error is a NotFound if the
	// policy does not exist.
	Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)
}

// maxLevels bounds how many levels are remembered: anybody may write any location on a target.
const maxLevels = 1000

// levels remembers what a policy says for as long as that cannot have changed. So a thousand
// targets of one policy are planned once.
type levels struct {
	changes uint64 // how often something has changed that a level is made of
	known   map[levelKey]knownLevel
}

type levelKey struct{ policy, location string }

type knownLevel struct {
	level  plan.Level
	source forecast.Source
	since  time.Time
}

// isCurrent reports whether the level is still that of now.
func (k knownLevel) isCurrent(now time.Time) bool {
	return !now.Before(k.since) && (k.level.ValidUntil.IsZero() || now.Before(k.level.ValidUntil))
}

// level returns what a policy says at a location, and the source of the policy's forecast.
func (c *Controller) level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error) {
	key := levelKey{policy, location}
	c.mu.Lock()
	known, ok := c.levels.known[key]
	changes := c.levels.changes
	c.mu.Unlock()
	if ok && known.isCurrent(now) {
		return known.level, known.source, nil
	}
	level, source, err := c.Policies.Level(ctx, policy, location, now)
	if err != nil {
		return level, source, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.levels.changes == changes { // otherwise this level may be older than the change
		if c.levels.known == nil || len(c.levels.known) == maxLevels {
			c.levels.known = map[levelKey]knownLevel{}
		}
		c.levels.known[key] = knownLevel{level, source, now}
	}
	return level, source, nil
}

// forgetLevels forgets the levels that have changed, and no others.
func (c *Controller) forgetLevels(hasChanged func(policy string, source forecast.Source) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels.changes++
	maps.DeleteFunc(c.levels.known, func(key levelKey, known knownLevel) bool { return hasChanged(key.policy, known.source) })
}
