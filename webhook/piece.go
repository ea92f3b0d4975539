package webhook

import (
	"fmt"

	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/plan"
)

// queue makes work wait until the loop has planned the work with all other work. What is only imagined is
// never planned by the loop.
func (w *Webhook) queue(d plan.Decision) plan.Decision {
	if w.isImagining {
		return d
	}
	return d.Queue()
}

// promiseOf returns what the members of a piece of work that wait were promised.
func promiseOf(piece gating.Piece) promise {
	return promise{isGiven: !piece.LatestStart.IsZero(), latestStart: piece.LatestStart}
}

// annotateOwner says that an object is not held because of what its owner does, and what to do.
func annotateOwner(owner *door.Door, does string) string {
	return fmt.Sprintf("its %s %s: annotate the %s instead", owner.Kind.Kind, does, owner.Kind.Kind)
}
