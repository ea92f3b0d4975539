package render

import (
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
)

const (
	// showAfter is how long something must take for its progress to be shown.
	showAfter = 500 * time.Millisecond
	// redrawPause is how often the progress is drawn at most.
	redrawPause = 100 * time.Millisecond
	shareParts  = 1000
)

// Progress shows how far something is that takes long.
type Progress struct {
	screen *screen.Screen // nil if nothing is to be shown
	what   string
	now    func() time.Time
	began  time.Time
	bar    *progressbar.ProgressBar
}

// NewProgress returns the progress of what is being done. Without a screen, nothing is shown.
func NewProgress(on *screen.Screen, what string, now func() time.Time) *Progress {
	return &Progress{screen: on, what: what, now: now, began: now()}
}

// ShowNow shows what is being done at once, since that takes long. The text is not a stranger's.
func (p *Progress) ShowNow(what string) {
	p.began, p.what = time.Time{}, what
	p.Share(0)
}

// Describe changes what is being done. The text is not a stranger's.
func (p *Progress) Describe(what string) {
	if p.what = what; p.bar != nil {
		p.bar.Describe(what)
	}
}

// Share shows which share is done, in 0..1.
func (p *Progress) Share(done float64) {
	if !p.isShown(shareParts, progressbar.OptionSetDescription(p.what), progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true)) {
		return
	}
	_ = p.bar.Set(int(done * shareParts)) // a bar that cannot be drawn is no reason to stop
}

// Count shows how many pods are done, and how many objects are left, where nobody knows of how
// many.
func (p *Progress) Count(done, left int) {
	if !p.isShown(-1, progressbar.OptionSpinnerType(9)) {
		return
	}
	description := fmt.Sprintf("%s: %s", p.what, Count(done, "pod"))
	if left > 0 {
		description += fmt.Sprintf(", %d left", left)
	}
	p.bar.Describe(description)
	_ = p.bar.Add(1) // likewise
}

// End removes the bar.
func (p *Progress) End() {
	if p.bar != nil {
		_ = p.bar.Finish() // likewise
	}
}

// isShown reports whether there is a bar, and makes one once it is time.
func (p *Progress) isShown(parts int, options ...progressbar.Option) bool {
	if p.bar == nil && p.screen != nil && p.now().Sub(p.began) >= showAfter {
		p.bar = progressbar.NewOptions(parts, append(options, progressbar.OptionSetWriter(p.screen.Raw()),
			progressbar.OptionThrottle(redrawPause), progressbar.OptionClearOnFinish())...)
	}
	return p.bar != nil
}
