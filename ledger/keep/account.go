package keep

import (
	"cmp"
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// settlePause is how long after the end of a group the group is booked: events of its pods may
	// still come.
	settlePause    = 5 * time.Second
	settlePatience = time.Minute
	// endPatience is how long pods of a group that has ended may run on.
	endPatience = time.Hour
	// meterMargin is how long after its end a pod is measured, and meterPatience is how long a
	// group waits for a meter that does not answer.
	meterMargin   = 5 * time.Minute
	meterPatience = 24 * time.Hour
	// maxAttempts bounds the attempts of a group that are kept one by one.
	maxAttempts = 5000
	// watermarkAge is how long before a pass everything that had ended is booked.
	watermarkAge = 48 * time.Hour
)

// fate says what becomes of a group in a pass.
type fate int

const (
	lasts fate = iota
	isBookable
	// isVoid is the fate of what never ran, or was booked before.
	isVoid
)

// fate returns what becomes of a group in a pass. until is the instant before which everything that
// had ended was booked.
func (g *group) fate(now, until time.Time) fate {
	end := g.end()
	switch {
	case !g.isOver(now):
		return lasts
	case end.Before(until) && !g.wasLive():
		return isVoid
	case now.Sub(g.seen()) < settlePause && now.Sub(end) < settlePatience:
		return lasts
	case len(g.pods) == 0 && g.folded == nil && !g.owner.hasRun():
		return isVoid
	default:
		return isBookable
	}
}

// isOver reports whether a group has ended. Pods of an owner that has ended may run on for a while.
func (g *group) isOver(now time.Time) bool {
	if o := g.owner; o != nil {
		return o.isOver() && (!g.runs() || now.Sub(cmp.Or(o.Ended, o.Gone)) >= endPatience)
	}
	return !g.runs()
}

// runs reports whether a pod of a group runs.
func (g *group) runs() bool {
	return slices.ContainsFunc(g.pods, func(p *pod) bool { return !p.isOver() })
}

// wasLive reports whether this leader, or the one before, has seen a group that had not ended.
func (g *group) wasLive() bool {
	return g.owner != nil && g.owner.wasLive || slices.ContainsFunc(g.pods, func(p *pod) bool { return p.wasLive })
}

// seen returns when the newest event of a group came.
func (g *group) seen() time.Time {
	var newest time.Time
	if g.owner != nil {
		newest = g.owner.seen
	}
	for _, p := range g.pods {
		newest = later(newest, p.seen)
	}
	return newest
}

// end returns when a group ended: its owner, or the last of its pods. Nothing ends before it was
// created, whatever a status says.
func (g *group) end() time.Time {
	var end time.Time
	if o := g.owner; o != nil {
		end = cmp.Or(o.Ended, o.Gone)
	}
	for _, p := range g.pods {
		if p.isOver() {
			end = later(end, p.End)
		}
	}
	return later(end, g.created())
}

// seenEnd reports whether the end of a group was seen.
func (g *group) seenEnd() bool {
	if g.owner != nil && g.owner.Ended.IsZero() && g.owner.IsUnseen {
		return false
	}
	return !slices.ContainsFunc(g.pods, func(p *pod) bool { return p.IsUnseen })
}

// notes returns the notes of the decision on a group.
func (g *group) notes() notes {
	if g.owner != nil {
		return g.owner.Notes
	}
	return *g.pods[0].Notes
}

// hasFailed reports whether a group ended without success, as far as anybody has seen.
func (g *group) hasFailed() bool {
	if o := g.owner; o != nil {
		return o.Failed || o.Ended.IsZero() && !o.IsUnseen
	}
	return g.pods[0].hasFailed()
}

// hasFailed reports whether a pod failed, or was deleted before it was done.
func (p *pod) hasFailed() bool {
	return p.Phase == corev1.PodFailed || p.Gone && p.Phase != corev1.PodSucceeded && !p.IsUnseen
}

// rules are what a policy says of accounts.
type rules struct {
	policy       *policy.Policy // nil if the policy does not exist
	snapshot     *forecast.Snapshot
	coefficients energy.Coefficients
	meter        Meter // nil if there is none
	// measured has the energy of pods as the meter says, and whyNot says why the meter has not
	// answered.
	measured map[string]float64
	whyNot   error
}

// rulesOf returns what a policy says of accounts. A policy that does not exist has no name and no
// source.
func (k *Keeper) rulesOf(ctx context.Context, name string) (*rules, error) {
	found, err := k.Policies.WithoutSites().Get(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return &rules{coefficients: policy.DefaultAccounting().Coefficients}, nil
	case err != nil:
		return nil, err
	}
	r := &rules{policy: found, snapshot: k.Store.Snapshot(found.Source), coefficients: found.Accounting.Coefficients}
	if address := found.Accounting.Prometheus; address != "" && k.MeterAt != nil {
		r.meter = k.MeterAt(address)
	}
	return r, nil
}

// account returns a group as it is booked. The error errLater says that the group is booked in a
// later pass.
func (g *group) account(now time.Time) (ledger.Group, error) {
	g = g.closed()
	n, end := g.notes(), g.end()
	b := entry{ledger.Group{UID: string(g.uid), Ended: end, SeenEnd: g.seenEnd(), Failed: g.hasFailed(), Mode: ledger.Enforce}}
	if n.State == v1alpha1.StateAudited {
		b.Mode = ledger.Audit
	}
	g.identify(&b.Group)
	arrived := b.Arrived
	attempts, err := g.attempts(now)
	if err != nil {
		return b.Group, err
	}
	if first := attempts.start(); arrived.After(first) && !first.IsZero() {
		b.Arrived = g.created() // the work was suspended in the middle of its run
	}
	if g.owner != nil && g.owner.HasFirst {
		n.Started = g.owner.First // and not when a pause ended
	}
	b.setWait(n, attempts.start())
	b.LatestStart = n.LatestStart
	g.rules.locate(&b, g, n)
	b.Steps, b.Energy = ledger.NewSteps(attempts.list), attempts.source
	b.setPauses(n, g.rules.policy)
	b.CoreHours, b.EmbodiedGrams = attempts.coreHours, attempts.embodied
	b.Units = g.units(n, b.Failed)
	return b.Group, nil
}

// identify writes what a group is.
func (g *group) identify(b *ledger.Group) {
	controller := reference{}
	if o := g.owner; o != nil {
		b.Kind, b.Namespace, b.Name, b.Arrived, controller = o.Kind, o.Namespace, o.Name, o.Arrived, o.Controller
	} else {
		p := g.pods[0]
		b.Kind, b.Namespace, b.Name, b.Arrived, controller = "Pod", p.Namespace, p.Name, p.Created, p.Owner
	}
	b.Owner = b.Kind + "/" + b.Name
	if controller.Kind != "" {
		b.Owner = controller.Kind + "/" + controller.Name
	}
}

// closed returns a group whose pods have all ended. Pods that have run on for too long count until
// the end of the group.
func (g *group) closed() *group {
	if !g.runs() {
		return g
	}
	c, end := *g, g.end()
	c.pods = slices.Clone(g.pods)
	for i, p := range c.pods {
		if !p.isOver() {
			closed := *p
			closed.End, closed.IsUnseen = later(end, p.Start), true
			c.pods[i] = &closed
		}
	}
	return &c
}

// created returns when the object of a group was created.
func (g *group) created() time.Time {
	if g.owner != nil {
		return g.owner.Created
	}
	return g.pods[0].Created
}

// entry is a group as it is booked.
type entry struct{ ledger.Group }

// setWait writes how long a group waited, or would have waited. first is when its first pod began: nothing
// waited for longer, whatever the annotations say.
func (b *entry) setWait(n notes, first time.Time) {
	b.Released = b.Arrived
	if !first.IsZero() {
		n.Started = earlier(n.Started, first)
	}
	switch {
	case b.Mode == ledger.Audit && n.PlannedStart.After(b.Arrived):
		b.Wait = n.PlannedStart.Sub(b.Arrived)
	case b.Mode == ledger.Enforce && n.Started.After(b.Arrived):
		b.Released, b.Wait = n.Started, n.Started.Sub(b.Arrived)
	}
}

// setPauses writes how often a group was paused, and until when it could have waited without any pause:
// its latest start is then that of its last resume.
func (b *entry) setPauses(n notes, rules *policy.Policy) {
	if n.Pauses == 0 {
		return
	}
	b.Pauses = n.Pauses
	if rules != nil {
		b.RestartCost = rules.RestartCost(n.RestartCost)
	}
	if !n.FinishBy.IsZero() {
		b.LatestStart = n.FinishBy.Add(-b.RunThrough())
	}
}

// unknownLocation is where work ran of which neither the policy nor the forecast knows the
// location.
const unknownLocation = "(unknown)"

// locate writes by which policy a group was decided on, and where the group ran.
func (r *rules) locate(b *entry, g *group, n notes) {
	if r.policy == nil {
		b.Location, b.OtherLocation = unknownLocation, unknownLocation
		return
	}
	b.Policy, b.Source = r.policy.Name, r.policy.Source.String()
	asked := map[string]string{v1alpha1.LocationAnnotation: n.Location}
	home := r.name(r.policy.LocationOf(asked))
	asked[v1alpha1.PlannedLocationAnnotation] = n.PlannedLocation
	planned := r.name(r.policy.LocationOf(asked))
	b.Location, b.OtherLocation = planned, planned
	if b.Mode == ledger.Audit {
		b.Location = home
	}
	if really, ok := r.locationByNodes(g); ok {
		b.Location = really
	}
	if b.Mode == ledger.Enforce || n.PlannedLocation == "" {
		b.OtherLocation = b.Location
	}
}

// locationByNodes returns the location of the nodes on which most pods of a group ran; false if the
// policy has no location for any of the nodes.
func (r *rules) locationByNodes(g *group) (most string, ok bool) {
	count := map[string]int{}
	for _, p := range g.pods {
		if location, ok := r.policy.LocationOfNode(p.nodeLabels); ok {
			count[location]++
		}
	}
	for location, pods := range count {
		if pods > count[most] || pods == count[most] && location < most {
			most, ok = location, true
		}
	}
	return most, ok
}

// name returns the name that the forecast has for a location.
func (r *rules) name(location string) string {
	if f, ok := r.snapshot.Forecast(location); ok {
		return f.Location
	}
	if location == "" || slices.Contains(r.policy.LocationNames(), location) {
		return location
	}
	return unknownLocation
}

// units returns the functional units of a group.
func (g *group) units(n notes, failed bool) float64 {
	switch {
	case failed:
		return 0
	case g.owner != nil && g.owner.Ended.IsZero(): // nobody saw that it was done
		return float64(g.owner.Succeeded)
	case n.Units > 0:
		return n.Units
	case g.owner != nil:
		return float64(g.owner.Succeeded)
	case g.pods[0].Phase == corev1.PodSucceeded:
		return 1
	default:
		return 0
	}
}
