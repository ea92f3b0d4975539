package main

import (
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

// end takes it away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // likewise
	}
}
