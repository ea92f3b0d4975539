package ledger

import "time"

// Census tells how much of what a cluster runs can wait at all. It sums samples: a sample counts what the
// pods that run request, for the time until the next sample. Pods that run for less than that time may be
// missed, and count for more when they are not missed.
type Census struct {
	// Samples counts the samples, and Until is when the newest was taken.
	Samples int       `json:"samples"`
	Until   time.Time `json:"until,omitzero"`
	// CoreHours are the requested cores of all pods that run, times hours. ElasticCoreHours are those of
	// the pods that asked to wait or are audited, and HeldCoreHours those of the pods that did wait.
	CoreHours        float64 `json:"coreHours"`
	ElasticCoreHours float64 `json:"elasticCoreHours"`
	HeldCoreHours    float64 `json:"heldCoreHours"`
}

// Count adds a pod that requests so many cores to a sample that stands for a span of time.
func (c *Census) Count(cores float64, span time.Duration, isElastic, wasHeld bool) {
	if !(cores > 0 && cores < maxCores) || span <= 0 {
		return
	}
	hours := cores * span.Hours()
	c.CoreHours += hours
	if isElastic {
		c.ElasticCoreHours += hours
	}
	if isElastic && wasHeld {
		c.HeldCoreHours += hours
	}
}

// maxCores bounds what one pod can count for.
const maxCores = 1e5

// Merge adds another census. What would become too large stays at a bound.
func (c *Census) Merge(other Census) {
	c.Samples = min(max(0, c.Samples)+min(max(0, other.Samples), maxCount), maxCount)
	if last := cleanTime(other.Until); !other.Until.IsZero() && last.After(c.Until) {
		c.Until = last
	}
	c.CoreHours = within(c.CoreHours+other.CoreHours, maxAmount)
	c.ElasticCoreHours = within(c.ElasticCoreHours+other.ElasticCoreHours, c.CoreHours)
	c.HeldCoreHours = within(c.HeldCoreHours+other.HeldCoreHours, c.ElasticCoreHours)
}

// ElasticShare returns the share of the core-hours that asked to wait, in percent. ok is false if nothing
// ran.
func (c Census) ElasticShare() (percent float64, ok bool) {
	return share(c.ElasticCoreHours, c.CoreHours)
}

// HeldShare returns the share of the core-hours that asked to wait and did wait, in percent. ok is false if
// nothing asked to wait.
func (c Census) HeldShare() (percent float64, ok bool) {
	return share(c.HeldCoreHours, c.ElasticCoreHours)
}

func share(part, whole float64) (percent float64, ok bool) {
	if !(whole > 0) {
		return 0, false
	}
	return 100 * part / whole, true
}
