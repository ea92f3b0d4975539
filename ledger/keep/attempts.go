package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// Meter measures the energy of pods.
type Meter interface {
	// Joules returns the energy of pods in joules, by their UIDs, as their computers took it. A pod
	// that was not measured is missing. With an error, the pods that are there are known all the same.
	Joules(ctx context.Context, pods []ledger.PodRun) (map[string]float64, error)
}

// attempts are the runs of the pods of a group, and what the runs took.
type attempts struct {
	list                []ledger.Attempt
	source              energy.Source
	coreHours, embodied float64
}

// start returns when the first attempt began; zero if there is none.
func (a *attempts) start() time.Time {
	var first time.Time
	for _, one := range a.list {
		if first.IsZero() || one.Start.Before(first) {
			first = one.Start
		}
	}
	return first
}

// folded is what is kept of attempts that are too many to be kept one by one.
type folded struct {
	Attempts  []ledger.Attempt `json:"attempts"`
	IsStated  bool             `json:"isStated,omitempty"`
	CoreHours float64          `json:"coreHours,omitempty"`
	Embodied  float64          `json:"embodied,omitempty"`
}

// attempts returns what the pods of a group took, by the best source there is.
func (g *group) attempts(now time.Time) (attempts, error) {
	pods, r := g.pods, g.rules
	if len(pods) == 0 && g.folded == nil {
		pods = g.owner.supposedPods()
	}
	isMeasured, err := g.isMeasured(now)
	if err != nil {
		return attempts{}, err
	}
	a := g.estimate(pods)
	if isMeasured {
		a.source = energy.Measured
		for i, p := range pods {
			a.list[i].Watts = r.measured[string(p.UID)] / p.End.Sub(p.Start).Seconds() * max(1, r.coefficients.PUE)
		}
	}
	if f := g.folded; f != nil {
		a.list = append(a.list, f.Attempts...)
		a.coreHours, a.embodied = a.coreHours+f.CoreHours, a.embodied+f.Embodied
		if len(pods) == 0 {
			a.source = energy.Modelled
			if f.IsStated {
				a.source = energy.Stated
			}
		}
	}
	return a, nil
}

// estimate returns what pods took by what they request or, if they request nothing, by the power
// that the work states of one pod. A pod that was stopped by a pause has not failed.
func (g *group) estimate(pods []*pod) attempts {
	r, stated := g.rules, g.notes().Watts
	a := attempts{source: energy.Unknown}
	for _, p := range pods {
		if !p.known(p.Requests).IsZero() {
			a.source = energy.Modelled
		}
	}
	if a.source == energy.Unknown && stated > 0 {
		a.source = energy.Stated
	}
	for _, p := range pods {
		requests := p.known(p.Requests)
		watts := r.coefficients.Watts(requests)
		if a.source == energy.Stated {
			watts = stated
		}
		hours := max(0, p.End.Sub(p.Start).Hours())
		a.list = append(a.list, ledger.Attempt{Start: p.Start, End: p.End, Watts: watts, Failed: p.hasFailed() && !g.owner.wasStopped(p)})
		a.coreHours += max(0, requests.Cores) * hours
		a.embodied += r.coefficients.EmbodiedGrams(requests, 0, hours)
	}
	return a
}

// The labels of nodes that say what their power is.
const (
	archLabel    = "kubernetes.io/arch"
	gpuKindLabel = "nvidia.com/gpu.product"
)

// known returns requests with what is known of the node.
func (p *pod) known(r energy.Requests) energy.Requests {
	r.Arch, r.GPUKind = p.nodeLabels[archLabel], p.nodeLabels[gpuKindLabel]
	return r
}

// supposedPods returns the pods that a Job must have had. Nobody has seen them: they went while no
// leader ran.
func (o *owner) supposedPods() []*pod {
	start := later(later(o.Began, o.Notes.Started), o.Arrived)
	end := later(o.Ended, start)
	pods := make([]*pod, min(max(o.Parallel, 1), maxAttempts))
	for i := range pods {
		pods[i] = &pod{Start: start, End: end, Requests: o.Requests, Phase: "Unknown"}
	}
	return pods
}

// measureTimeout bounds how long each meter is asked in a pass.
const measureTimeout = 2 * time.Minute

// measureAll asks the meters about the pods of groups that have ended.
func measureAll(ctx context.Context, due []*group, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	runs := map[*rules][]ledger.PodRun{}
	for _, g := range due {
		if g.isAskable(now) {
			for _, p := range g.closed().pods {
				runs[g.rules] = append(runs[g.rules], ledger.PodRun{UID: string(p.UID), Namespace: p.Namespace, Name: p.Name, Start: p.Start, End: p.End, HasGPUs: p.Requests.GPUs > 0})
			}
		}
	}
	var asked sync.WaitGroup // side by side: a slow meter takes no time from another
	for r, pods := range runs {
		asked.Go(func() { r.measured, r.whyNot = r.meter.Joules(ctx, pods) })
	}
	asked.Wait()
}

// isAskable reports whether a meter knows the pods of a group by now, if there is one.
func (g *group) isAskable(now time.Time) bool {
	return g.rules.meter != nil && len(g.pods) > 0 && g.folded == nil && now.Sub(g.end()) >= meterMargin
}

// errLater says that a group cannot be booked yet.
var errLater = errors.New("the meter has not answered yet")

// isMeasured reports whether a meter has measured all pods of a group. The error errLater says that
// the meter is asked in a later pass.
func (g *group) isMeasured(now time.Time) (bool, error) {
	r, age := g.rules, now.Sub(g.end())
	switch {
	case r.meter == nil || len(g.pods) == 0 || g.folded != nil:
		return false, nil
	case age < meterMargin:
		return false, errLater
	}
	hasAll := !slices.ContainsFunc(g.pods, func(p *pod) bool {
		joules, known := r.measured[string(p.UID)]
		return !known || !(joules >= 0) || !p.End.After(p.Start)
	})
	if !hasAll && r.whyNot != nil && age < meterPatience {
		return false, fmt.Errorf("%w: %w", errLater, r.whyNot)
	}
	return hasAll, nil
}

// foldLong folds the oldest attempts of a group that has very many. Such attempts are estimated,
// also if there is a meter.
func (k *Keeper) foldLong(g *group) {
	var gone []*pod
	for _, p := range g.pods {
		if p.Gone {
			gone = append(gone, p)
		}
	}
	if len(gone) <= maxAttempts {
		return
	}
	a := g.estimate(gone)
	into := &folded{IsStated: a.source == energy.Stated, CoreHours: a.coreHours, Embodied: a.embodied}
	if before := g.folded; before != nil {
		a.list = append(a.list, before.Attempts...)
		into.CoreHours, into.Embodied = into.CoreHours+before.CoreHours, into.Embodied+before.Embodied
	}
	for _, s := range ledger.NewSteps(a.list) {
		into.Attempts = append(into.Attempts, ledger.Attempt{Start: s.Start, End: s.End, Watts: s.Watts - s.FailedWatts})
		if s.FailedWatts > 0 {
			into.Attempts = append(into.Attempts, ledger.Attempt{Start: s.Start, End: s.End, Watts: s.FailedWatts, Failed: true})
		}
	}
	k.known.fold(g, gone, into)
}
