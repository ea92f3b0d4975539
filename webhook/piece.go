package webhook

import (
	"fmt"

	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
)

// promiseOf returns what the members of a piece of work that wait were promised.
func promiseOf(piece gating.Piece) promise {
	return promise{isGiven: !piece.LatestStart.IsZero(), latestStart: piece.LatestStart}
}

// annotateOwner says that an object is not held because of what its owner does, and what to do.
func annotateOwner(owner *door.Door, does string) string {
	return fmt.Sprintf("its %s %s: annotate the %s instead", owner.Kind.Kind, does, owner.Kind.Kind)
}
