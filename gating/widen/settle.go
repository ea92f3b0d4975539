package widen

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/policy"
)

// change is what a verdict makes of a Job.
type change struct {
	*override.Change
	work  *work
	notes map[string]string
	// isUndone says that somebody has put the original back. isTaken says that somebody has just set
	// another width, which is left alone from now on.
	isUndone, isTaken bool
	// width is in force after the change.
	width int
	// again is when to look again because the verdict is not wholly followed for now; zero if it is.
	again time.Time
}

func (w *work) newChange() *change {
	return &change{Change: w.Change(), work: w, notes: map[string]string{}, width: widthOf(w.Value(widthField))}
}

// settle returns what has to change on a Job for a verdict to be in force.
func (w *work) settle(v verdict, now time.Time) *change {
	c := w.newChange()
	if v.isPending {
		return c
	}
	loan := w.loan()
	s := w.Standing(widthField, loan)
	c.isUndone = s.IsReverted
	c.isTaken = s.IsUndone && !s.IsReverted
	v.width = c.keptWidth(v, loan, s, now)
	switch {
	case c.isTaken && w.asks():
		c.notes[v1alpha1.ParallelismReleasedAnnotation] = v1alpha1.ParallelismTaken
		c.noteReason("somebody else has set it, and Gridlatch leaves it alone")
	case v.width == 0:
		c.giveBack(v, loan, s, now)
	default:
		c.lend(v, loan, s, now)
	}
	for _, key := range noteKeys() {
		c.Annotate(key, c.notes[key])
	}
	return c
}

// restore returns what has to change for the Job to be as if it had never lent its width.
func (w *work) restore(now time.Time) *change {
	return w.settle(own("Gridlatch gives it back", ""), now)
}

// keptWidth returns the wanted width, or the lent one if it is too early to give it back because the grid
// does not count for now.
func (c *change) keptWidth(v verdict, loan *override.Loan, s override.Standing, now time.Time) int {
	if v.width != 0 || v.mayChange == nil || loan == nil {
		return v.width
	}
	before, own := widthOf(loan.Applied), v
	own.width = widthOf(s.Original)
	if own.width != before && c.damp(own, before, now) == before {
		return before
	}
	return 0
}

// giveBack gives the Job its own width. If the grid may count again, it is remembered when the width has
// changed.
func (c *change) giveBack(v verdict, loan *override.Loan, s override.Standing, now time.Time) {
	w := c.work
	if w.asks() && (w.isTaken() || !w.offUntil(now).IsZero()) {
		c.notes[v1alpha1.ParallelismReleasedAnnotation] = w.Annotations[v1alpha1.ParallelismReleasedAnnotation]
	}
	if v.mayChange != nil {
		c.notes[v1alpha1.ParallelismChangedAnnotation] = w.Annotations[v1alpha1.ParallelismChangedAnnotation]
	}
	if loan == nil {
		return
	}
	if v.mayChange != nil && s.Original != loan.Applied {
		c.notes[v1alpha1.ParallelismChangedAnnotation] = policy.FormatTime(now)
	}
	c.Set(widthField, s.Original)
	c.width, c.isUndone = widthOf(s.Original), false
	if !w.isHeld() {
		c.noteReason(v.Over(""))
	}
}

// lend gives the Job the wanted width, if it may change now.
func (c *change) lend(v verdict, loan *override.Loan, s override.Standing, now time.Time) {
	w := c.work
	before, changed := widthOf(s.Original), w.Annotations[v1alpha1.ParallelismChangedAnnotation]
	if loan != nil {
		before = widthOf(loan.Applied)
	}
	c.width = c.damp(v, before, now)
	if c.width != before && !v.isHeld {
		changed = policy.FormatTime(now)
	}
	c.notes[v1alpha1.OriginalParallelismAnnotation] = strconv.Itoa(widthOf(s.Original))
	c.notes[v1alpha1.AppliedParallelismAnnotation] = strconv.Itoa(c.width)
	c.notes[v1alpha1.ParallelismChangedAnnotation] = changed
	c.Set(widthField, override.ValueOf(c.width))
	if c.setsWidth() && !v.isHeld {
		c.noteReason(v.Over(""))
	}
}

// damp keeps the width from changing more often than it may, and for nothing.
func (c *change) damp(v verdict, before int, now time.Time) int {
	since := c.work.time(v1alpha1.ParallelismChangedAnnotation)
	switch {
	case v.isHeld || v.width == before || before < c.work.ask.Widths.Least || before > c.work.ask.Widths.Most:
		return v.width
	case v.left > 0 && min(v.width, v.left) == min(before, v.left):
		return before // as many pods run
	case since.IsZero() || since.After(now):
		return v.width
	}
	if may := v.mayChange(since); now.Before(may) && (v.width < before || !v.isLate(before, may)) {
		c.again = may
		return before
	}
	return v.width
}

// noteReason says on the Job why it has its width.
func (c *change) noteReason(why string) {
	c.Annotate(v1alpha1.ReasonAnnotation, fmt.Sprintf("its parallelism is %d: %s", c.width, why))
}

// setsWidth reports whether the change gives the Job another width.
func (c *change) setsWidth() bool { return c.Sets(widthField) }
