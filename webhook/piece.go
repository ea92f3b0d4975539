package webhook

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/gating/door"
)

// Piece stands in for what gating.Records will know of a piece of work.
type Piece struct {
	Kind, Name      string
	Runs, IsDecided bool
}

// whyMemberStarts says why an object starts at once as a member of a piece of work; empty if it does
// not. The decision on the piece counts for all members, and nothing waits while the rest of the work
// runs.
func (w *Webhook) whyMemberStarts(namespace string, o metav1.Object) string {
	if w.Piece == nil || owningDoor(o) == nil {
		return ""
	}
	piece := w.Piece(namespace, o)
	switch {
	case piece.IsDecided:
		return fmt.Sprintf("its %s %s was decided on as a whole", piece.Kind, piece.Name)
	case piece.Runs:
		return fmt.Sprintf("its %s %s runs already", piece.Kind, piece.Name)
	default:
		return ""
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
