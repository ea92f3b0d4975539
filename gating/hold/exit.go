package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/plan"
)

// Printable returns a text with blanks for the characters that a terminal does not print. Whoever
// refuses a request chooses the text.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

const (
	// maxExitWrites bounds the writes in flight of an Exit.
	maxExitWrites = 32
	// maxNamedUnreleased bounds how many objects an Unreleased names.
	maxNamedUnreleased = 20
)

// Exit releases all held work, also what has lost its label. An object that cannot be released
// does not stop the rest. Client, Reason and Now are required.
type Exit struct {
	Client client.Client
	// Namespace limits the release to one namespace; empty is the whole cluster.
	Namespace string
	Reason    string
	Now       time.Time
	// ByHand says that a user releases the work, which is not to be paused afterwards.
	ByHand bool
	// Progress is called after each object with how many pods are released, and how many objects
	// could not be. It may be nil.
	Progress func(released, unreleased int)

	mu         sync.Mutex
	released   int
	unreleased Unreleased
}

// Unreleased is the error that lists the objects which could not be released.
type Unreleased struct {
	Count int
	// First has the first of the objects, as KIND NAMESPACE/NAME: WHY.
	First []string
}

// Error returns the list, a line for each object.
func (u *Unreleased) Error() string {
	text := fmt.Sprintf("%d could not be released:\n  %s", u.Count, strings.Join(u.First, "\n  "))
	if more := u.Count - len(u.First); more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}

// ReleaseAll releases all held work and returns how many pods were released. It records the release
// on owners first, so that their later pods do not wait. The error has an Unreleased if objects could
// not be released, and a ForbiddenError for each kind that may not be listed.
func (e *Exit) ReleaseAll(ctx context.Context) (int, error) {
	var problems []error
	owners := e.workers()
	add := e.releasingOwner(ctx, owners)
	err := EachOwner(ctx, e.Client, e.Namespace, add)
	forbidden, _ := SplitForbidden(err)
	isReadable := func(kind schema.GroupKind) bool { return !slices.Contains(forbidden, door.Of(kind).Resource) }
	problems = append(problems, err, EachUnlabelledHeldOwner(ctx, e.Client, e.Namespace, isReadable, add))
	_ = owners.Wait() // count has the errors
	pods := e.workers()
	for _, held := range []selection.Operator{selection.Equals, selection.NotEquals} {
		problems = append(problems, EachGatedPod(ctx, e.Client, e.Namespace, held, func(pod *corev1.Pod) {
			pods.Go(func() error {
				err := ungatePod(ctx, e.Client, pod, e.note())
				e.count("pod", pod, 1, err)
				return nil
			})
		}))
	}
	_ = pods.Wait()
	if e.unreleased.Count > 0 {
		problems = append(problems, &e.unreleased)
	}
	return e.released, errors.Join(problems...)
}

// ReleaseWholes releases what is held of some kinds that are held whole, and returns how many pods this
// work runs. The error is as for ReleaseAll.
func (e *Exit) ReleaseWholes(ctx context.Context, doors []door.Door) (int, error) {
	var problems []error
	owners := e.workers()
	add := e.releasingOwner(ctx, owners)
	for _, d := range doors {
		err := EachWhole(ctx, e.Client, &d, e.Namespace, func(o client.Object) { callWithOwner(o, add) })
		problems = append(problems, err)
		if err == nil {
			problems = append(problems, eachUnlabelledHeldWhole(ctx, e.Client, &d, e.Namespace, add))
		}
	}
	_ = owners.Wait() // count has the errors
	if e.unreleased.Count > 0 {
		problems = append(problems, &e.unreleased)
	}
	return e.released, errors.Join(problems...)
}

// releasingOwner returns a function that has a worker release an owner.
func (e *Exit) releasingOwner(ctx context.Context, workers *errgroup.Group) func(Owner) {
	return func(owner Owner) {
		workers.Go(func() error {
			note := e.note()
			if e.ByHand {
				note = note.byHand(owner)
			}
			pods, err := releaseOwner(ctx, e.Client, owner, note)
			e.count(owner.Kind.Kind, owner, pods, err)
			return nil
		})
	}
}

func (e *Exit) note() ReleaseNote { return ReleaseNote{Reason: e.Reason, At: e.Now} }

func (e *Exit) workers() *errgroup.Group {
	group := &errgroup.Group{}
	group.SetLimit(maxExitWrites)
	return group
}

// count adds the result for an object.
func (e *Exit) count(kind string, o client.Object, pods int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.released += pods
	case client.IgnoreNotFound(err) != nil:
		if e.unreleased.Count++; len(e.unreleased.First) < maxNamedUnreleased {
			why := plan.Truncate(Printable(err.Error()))
			e.unreleased.First = append(e.unreleased.First, fmt.Sprintf("%s %s/%s: %s", kind, o.GetNamespace(), o.GetName(), why))
		}
	}
	if e.Progress != nil {
		e.Progress(e.released, e.unreleased.Count)
	}
}
