package ceiling

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// step is by how much a ceiling may be lowered at a time, as in the behaviour of
// a HorizontalPodAutoscaler, which does not hold when maxReplicas falls. The zero
// step is no limit.
type step struct{ replicas, percent int32 }

// parseStep reads a number of replicas, or a share of the ceiling in force in
// per cent, such as "2" or "10%". An empty text is no limit.
func parseStep(text string) (step, error) {
	if text == "" {
		return step{}, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || n < 1 || percent && n > 100 {
		return step{}, fmt.Errorf("%.40q: want a number of replicas, such as 2, or 1%% to 100%%", text)
	}
	if percent {
		return step{percent: int32(n)}, nil
	}
	return step{replicas: int32(n)}, nil
}

// CheckStep returns an error if a text is not what LowerBy allows.
func CheckStep(text string) error {
	_, err := parseStep(text)
	return err
}

func (s step) limits() bool { return s != step{} }

func (s step) String() string {
	if s.percent > 0 {
		return fmt.Sprintf("%d%%", s.percent)
	}
	return strconv.Itoa(int(s.replicas))
}

// below is the lowest ceiling that may follow one; at least one replica goes.
func (s step) below(from int32) int32 {
	if s.percent > 0 {
		return int32(int64(from) * int64(100-s.percent) / 100)
	}
	return max(from-s.replicas, 0)
}

// soften returns the ceiling for now where it is lowered in steps.
func (t *target) soften(limit int32, c *change, r *record, p pace, now time.Time) int32 {
	from := effective(t.max)
	if r != nil {
		from = min(from, r.ceiling)
	}
	if !p.step.limits() || p.interval <= 0 || limit >= from {
		return limit
	}
	if r != nil {
		if again := r.lowered.Add(p.interval); now.Before(again) {
			c.damped, c.held = true, again
			return from
		}
	}
	least := max(p.step.below(from), t.min)
	if limit < least {
		c.damped, c.held = true, now.Add(p.interval)
	}
	return max(limit, least)
}
