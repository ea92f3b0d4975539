package webhook

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
)

// promiseOf returns what the members of a piece of work that wait were promised.
func promiseOf(piece gating.Piece) promise {
	return promise{isGiven: !piece.LatestStart.IsZero(), latestStart: piece.LatestStart}
}

// owningDoor returns the door of the controller that owns an object; nil if no controller of a kind
// with a door does.
func owningDoor(o metav1.Object) *door.Door {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil {
		return nil
	}
	version, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return nil
	}
	return door.Of(version.WithKind(owner.Kind).GroupKind())
}

// annotateOwner says that an object is not held because of what its owner does, and what to do.
func annotateOwner(owner *door.Door, does string) string {
	return fmt.Sprintf("its %s %s: annotate the %s instead", owner.Kind.Kind, does, owner.Kind.Kind)
}
