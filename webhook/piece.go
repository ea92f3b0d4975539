package webhook

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/plan"
)

// joinPiece makes the task of a new member of a piece of work start no later than the members that wait.
func joinPiece(task *plan.Task, piece gating.Piece) {
	if !piece.LatestStart.IsZero() && piece.LatestStart.Before(task.LatestStart) {
		task.LatestStart = piece.LatestStart.UTC()
	}
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
