package main

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
)

// patience is how long nothing is shown.
const patience = 500 * time.Millisecond

// progress shows how far a long run is, on a terminal only.
type progress struct {
	env   env
	began time.Time
	bar   *progressbar.ProgressBar
}

func newProgress(e env) *progress { return &progress{env: e, began: e.now()} }

// show takes the share that is done, in 0..1.
func (p *progress) show(done float64) {
	const parts = 1000
	if p.bar == nil {
		if !p.env.live || p.env.now().Sub(p.began) < patience {
			return
		}
		p.bar = progressbar.NewOptions(parts,
			progressbar.OptionSetWriter(p.env.stderr.Raw()), progressbar.OptionSetDescription("replaying"),
			progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	}
	_ = p.bar.Set(int(done * parts)) // a bar that cannot be drawn is no reason to stop
}

// counter shows how much is done of what nobody knows the end of, on a terminal only.
type counter struct {
	env   env
	what  string
	began time.Time
	bar   *progressbar.ProgressBar
}

func newCounter(e env, what string) *counter { return &counter{env: e, what: what, began: e.now()} }

// show takes how many pods are done, and how many objects are left.
func (c *counter) show(done, left int) {
	if c.bar == nil {
		if !c.env.live || c.env.now().Sub(c.began) < patience {
			return
		}
		c.bar = progressbar.NewOptions(-1,
			progressbar.OptionSetWriter(c.env.stderr.Raw()), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSpinnerType(9), progressbar.OptionClearOnFinish())
	}
	said := fmt.Sprintf("%s: %s", c.what, several(done, "pod"))
	if left > 0 {
		said += fmt.Sprintf(", %d left", left)
	}
	c.bar.Describe(said)
	_ = c.bar.Add(1) // a bar that cannot be drawn is no reason to stop
}

// end takes it away.
func (c *counter) end() {
	if c.bar != nil {
		_ = c.bar.Finish() // likewise
	}
}

// end takes it away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // likewise
	}
}
