package leaving

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// pollInterval is how often each replica looks at the base of the installation. Every third look, as
	// looksPerComponents says, is also at the components. That is soon enough, because the finalizer keeps
	// the rights of a component that somebody deletes.
	pollInterval       = 5 * time.Second
	looksPerComponents = 3
	// readTimeout bounds one look.
	readTimeout = 4 * time.Second
	// holdAgainAfter is how long after a removal no work is held. By then every part has noticed which
	// rights are left.
	holdAgainAfter = time.Minute
)

// Keeper keeps the finalizer on the anchors while Gridlatch is installed, and leaves when Gridlatch is
// being removed. Each replica has one. NewKeeper makes it.
type Keeper struct {
	installation Installation
	clientset    kubernetes.Interface
	identity     string
	// elected is closed once this replica leads.
	elected <-chan struct{}
	looks   int

	mu      sync.Mutex
	isKnown bool // the base of the installation was read
	problem string
	status  status
	// removals has an entry for each component that is being removed, or was removed lately. The base
	// has the entry "".
	removals map[string]removal
	hasLeft  bool
}

// removal is what is known of the removal of a component, or of the base.
type removal struct {
	since time.Time
	// until is zero for as long as the removal goes on. Then it is until when no work is held.
	until time.Time
}

// NewKeeper returns the keeper of a replica, and registers its metric. elected is closed once the replica
// leads.
func NewKeeper(installation Installation, clientset kubernetes.Interface, identity string, elected <-chan struct{}, registry prometheus.Registerer) *Keeper {
	k := &Keeper{installation: installation, clientset: clientset, identity: identity, elected: elected, removals: map[string]removal{}}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gridlatch_installation_unknown", Help: "1 if no work is held, because this replica could not find out whether Gridlatch is being removed.",
	}, func() float64 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.isKnown || k.status.isRemoved() {
			return 0
		}
		return 1
	}))
	return k
}

// WhyNotHeld says why no work may be held that needs a component; empty if such work may be held. The
// component is empty for pods and Jobs.
func (k *Keeper) WhyNotHeld(component string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.status.isRemoved():
		return "Gridlatch is being removed: " + k.status.why
	case slices.Contains(k.status.removedComponents, component):
		return "the component " + component + " of Gridlatch is being removed"
	case !k.isKnown:
		return "it is not known yet whether Gridlatch is being removed: its Deployment and rights could not be read"
	}
	if now := k.installation.Clock.Now(); now.Before(k.removals[""].until) || now.Before(k.removals[component].until) {
		return "a part of Gridlatch was just removed"
	}
	return ""
}

// Start looks at the installation every few seconds until the context ends; for a manager.
func (k *Keeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, k.look, pollInterval)
	return nil
}

// NeedLeaderElection makes a manager run the keeper in every replica: each stops holding work.
func (k *Keeper) NeedLeaderElection() bool { return false }

// look looks at the installation once. The leader then protects it, or leaves.
func (k *Keeper) look(ctx context.Context) {
	s, err := k.readOnce(ctx)
	switch {
	case ctx.Err() != nil || !k.leads():
	case s.isRemoved():
		err = k.leave(ctx)
	case len(s.removedComponents) > 0:
		err = k.leaveComponents(ctx, s.removedComponents)
	case err == nil:
		err = k.installation.protect(ctx, s.unprotected)
	}
	k.logProblem(ctx, err)
}

// readOnce reads how the installation stands, the components at times, and notes it.
func (k *Keeper) readOnce(ctx context.Context) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := k.installation.read(ctx)
	k.note(ctx, s, err)
	if s.isRemoved() || k.looks%looksPerComponents != 0 {
		k.looks++
		return s, err
	}
	errComponents := k.installation.readComponents(ctx, &s)
	if errComponents == nil {
		k.looks++ // else they are read the next time
	}
	k.noteComponents(ctx, s.removedComponents, errComponents)
	return s, errors.Join(err, errComponents)
}

// leads reports whether this replica leads.
func (k *Keeper) leads() bool {
	select {
	case <-k.elected:
		return true
	default:
		return false
	}
}

// note notes how the base stands. What is known of a removal stays as long as not everything can be read:
// with its rights, Gridlatch may lose the sight of itself.
func (k *Keeper) note(ctx context.Context, s status, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case s.isRemoved():
		k.status.why = s.why
		k.begin(ctx, "", s.why)
	case err == nil:
		k.status.why, k.isKnown, k.hasLeft = "", true, false
		k.end("")
	}
}

// noteComponents notes which components are being removed.
func (k *Keeper) noteComponents(ctx context.Context, removed []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, component := range removed {
		k.begin(ctx, component, "its rights are being deleted")
	}
	if err != nil {
		return
	}
	for _, component := range k.status.removedComponents {
		if !slices.Contains(removed, component) {
			k.end(component)
		}
	}
	k.status.removedComponents = removed
}

// begin notes the begin of a removal. mu is held.
func (k *Keeper) begin(ctx context.Context, component, why string) {
	if r, ok := k.removals[component]; ok && r.until.IsZero() {
		return
	}
	k.removals[component] = removal{since: k.installation.Clock.Now()}
	if component == "" {
		log.FromContext(ctx).Info("no work is held from now on: Gridlatch is being removed", "why", why)
	} else {
		log.FromContext(ctx).Info("no work of a component is held from now on: the component is being removed", "component", component)
	}
}

// end notes the end of a removal. mu is held.
func (k *Keeper) end(component string) {
	if r, ok := k.removals[component]; ok && r.until.IsZero() {
		k.removals[component] = removal{until: k.installation.Clock.Now().Add(holdAgainAfter)}
	}
}

// removal returns since when the base is being removed and why, and whether this replica has left.
func (k *Keeper) removal() (why string, since time.Time, hasLeft bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.why, k.removals[""].since, k.hasLeft
}

// leave leaves once.
func (k *Keeper) leave(ctx context.Context) error {
	why, since, hasLeft := k.removal()
	if hasLeft {
		return nil
	}
	if err := k.installation.leave(ctx, why, since); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hasLeft = true
	return nil
}

// leaveComponents releases the work of components, and lets their rights go. All components share the time
// of one attempt.
func (k *Keeper) leaveComponents(ctx context.Context, components []string) error {
	k.looks = 0 // the next look is at the components, too
	problems := make([]error, len(components))
	var group sync.WaitGroup
	for n, component := range components {
		group.Go(func() { problems[n] = k.installation.leaveComponent(ctx, component, k.removedSince(component)) })
	}
	group.Wait()
	return errors.Join(problems...)
}

// removedSince returns since when a component is being removed.
func (k *Keeper) removedSince(component string) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.removals[component].since
}

// logProblem logs a problem unless it was logged before.
func (k *Keeper) logProblem(ctx context.Context, err error) {
	k.mu.Lock()
	before := k.problem
	k.problem = ""
	if err != nil {
		k.problem = err.Error()
	}
	isNew := err != nil && k.problem != before
	k.mu.Unlock()
	if isNew && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "cannot keep or leave the installation; this is tried again")
	}
}

// LeaveAtEnd leaves if Gridlatch is being removed; for the end of the process. Of the replicas that end
// at the same time, one releases everything. Another one goes on if the first is killed. A component
// that is being removed is left to the replicas that run.
func (k *Keeper) LeaveAtEnd(ctx context.Context) error {
	s, err := k.installation.readPatiently(ctx)
	k.note(ctx, s, err)
	why, since, hasLeft := k.removal()
	switch {
	case why == "":
		return err
	case hasLeft:
		return nil
	}
	done, isTurn := k.awaitTurn(ctx)
	defer done()
	if !isTurn {
		log.FromContext(ctx).Info("another replica has released all held work, or somebody has taken the rights of Gridlatch away")
		return nil
	}
	return k.installation.leave(ctx, why, since)
}
