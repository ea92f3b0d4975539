package ceiling

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/override"
)

// step is the most that a ceiling is lowered at a time. A HorizontalPodAutoscaler has such steps in
// its behavior, but ignores them when its maxReplicas falls. The zero step is no limit.
type step struct{ replicas, percent int32 }

// parseStep reads a number of replicas such as "2", or a share of the ceiling in force such as
// "10%". An empty text is no limit.
func parseStep(text string) (step, error) {
	if text == "" {
		return step{}, nil
	}
	number, isPercent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || n < 1 || isPercent && n > 100 {
		return step{}, fmt.Errorf("%.40q: want a number of replicas, such as 2, or 1%% to 100%%", text)
	}
	if isPercent {
		return step{percent: int32(n)}, nil
	}
	return step{replicas: int32(n)}, nil
}

// CheckStep returns an error for a text that [Options.LowerBy] does not allow.
func CheckStep(text string) error {
	_, err := parseStep(text)
	return err
}

func (s step) isLimit() bool { return s != step{} }

// String returns the step as users write it.
func (s step) String() string {
	if s.percent > 0 {
		return fmt.Sprintf("%d%%", s.percent)
	}
	return strconv.Itoa(int(s.replicas))
}

// lowestAfter returns the lowest ceiling that may follow one. At least one replica goes.
func (s step) lowestAfter(ceiling int32) int32 {
	if s.percent > 0 {
		return int32(int64(ceiling) * int64(100-s.percent) / 100)
	}
	return max(ceiling-s.replicas, 0)
}

// soften returns the ceiling for now where the ceiling is lowered in steps.
func (t *target) soften(ceiling int32, c *change, r *record, p pace, now time.Time) int32 {
	from := t.maxReplicas()
	if r != nil {
		from = min(from, r.ceiling)
	}
	if !p.step.isLimit() || p.interval <= 0 || ceiling >= from {
		return ceiling
	}
	if r != nil {
		if again := override.MayChange(r.lowered, p.interval, now); now.Before(again) {
			c.isDamped, c.again = true, again
			return from
		}
	}
	lowest := max(p.step.lowestAfter(from), t.minCeiling)
	if ceiling < lowest {
		c.isDamped, c.again = true, now.Add(p.interval)
	}
	return max(ceiling, lowest)
}
