package exporter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// secondAuto stands for whoever covers a zone without a key.
	secondAuto = "Auto"
	// maxSecondZones bounds the zones of which the second sources are asked in one step. They allow few
	// requests, and forecasts must not wait for them.
	maxSecondZones = 4
)

// secondSource says whom else to ask how the intensity was; the zero secondSource is nobody.
type secondSource struct{ kind, baseURL, zone string }

// secondSourceOf returns the second source that a policy names.
func secondSourceOf(a *v1alpha1.ActualsSource) secondSource {
	if a == nil {
		return secondSource{}
	}
	return secondSource{kind: cmp.Or(a.Type, secondAuto), baseURL: a.BaseURL, zone: a.Zone}
}

// secondOf returns whom else to ask of a zone, and the name that the zone has there; "" if nobody.
func (s source) secondOf(zone string) (of provider.Type, name string) {
	switch s.second.kind {
	case "":
		return "", ""
	case secondAuto:
		kind, name := region.Actuals(string(s.kind), zone)
		if provider.Type(kind) == s.kind {
			return "", ""
		}
		return provider.Type(kind), name
	default:
		return provider.Type(s.second.kind), cmp.Or(s.second.zone, region.SameZone(s.second.kind, string(s.kind), zone))
	}
}

// zoneSecond is what a second source says of a zone.
type zoneSecond struct {
	of provider.Type // "" if nobody is asked
	// told has the past of the zone, as the source names it; nil if nobody is asked.
	told *zone
	// problem says why nobody can be asked; "" if somebody can.
	problem string
	// before is what an earlier run has published, which counts until the source has told something.
	before pastBefore
}

// pastBefore is what a second source has told an earlier run.
type pastBefore struct {
	said forecast.SecondSource
	// levelled is at the level of the provider. raw is as the source said, where the provider knows
	// nothing of the past. One of them is empty.
	levelled, raw *forecast.Series
}

// restoreSecond takes over what a ConfigMap has of a second source.
func (a *asker) restoreSecond(z *zone, details forecast.Details, levelled *forecast.Series) {
	isAll := z.origin.Past != "" // of the past
	raw := z.actuals
	if isAll {
		z.origin.Past, z.actuals, z.saidNoPast = "", nil, true
	}
	if a.source.second.kind == "" || details.Second == nil {
		return
	}
	z.second.before = pastBefore{said: *details.Second, levelled: levelled}
	if isAll {
		z.second.before = pastBefore{said: *details.Second, raw: raw}
	}
}

// knowsNoPast reports whether the provider has said that it knows nothing of the past.
func (z *zone) knowsNoPast() bool { return z.saidNoPast && !z.hasPast() }

// wholePast returns what is published of the past: the intensities that the provider has told, and the
// hours that a second source adds. It completes the details.
func (z *zone) wholePast(d *forecast.Details, now time.Time) (actuals, levelled *forecast.Series) {
	told := z.second.told
	var said forecast.SecondSource
	switch {
	case told != nil && !told.actuals.IsEmpty():
		said = forecast.SecondSource{Provider: told.origin.Provider, Zone: told.name, Until: told.actuals.End()}
		actuals, levelled = z.pastWith(&said, now)
	case z.second.before.said.Provider != "":
		said, levelled = z.second.before.said, z.missing(z.second.before.levelled)
		if actuals = z.actuals; z.knowsNoPast() {
			actuals = z.second.before.raw
		}
	case told != nil:
		said = forecast.SecondSource{Provider: told.origin.Provider, Zone: told.name, Problem: cmp.Or(told.past.problem.text, told.recent.problem.text, "it has told nothing yet")}
		actuals = z.actuals
	case z.second.problem != "":
		said = forecast.SecondSource{Provider: string(z.second.of), Problem: z.second.problem}
		actuals = z.actuals
	default:
		return z.actuals, nil
	}
	d.Second = &said
	if said.Ratio == 0 {
		return actuals, nil
	}
	if z.knowsNoPast() && !actuals.IsEmpty() {
		d.Origin.Past = said.Provider
	}
	z.second.addCredit(d)
	return actuals, levelled
}

// addCredit adds what the licence of the second source demands. That of an earlier run may be there.
func (s zoneSecond) addCredit(d *forecast.Details) {
	if s.told != nil && !strings.Contains(d.Attribution, s.told.attribution) {
		d.Attribution = strings.TrimPrefix(d.Attribution+"; "+s.told.attribution, "; ")
	}
}

// pastWith returns the past with what a second source has told. It notes by what the intensities are
// multiplied, or why none counts.
func (z *zone) pastWith(said *forecast.SecondSource, now time.Time) (actuals, levelled *forecast.Series) {
	told := z.second.told
	if !z.knowsNoPast() {
		levelled, ratio, err := forecast.Level(z.actuals, told.actuals, now)
		if said.Ratio = ratio; err != nil {
			said.Problem = err.Error()
		}
		return z.actuals, levelled
	}
	if a, b := z.origin.Signal, told.origin.Signal; !areComparable(a, b) {
		said.Problem = fmt.Sprintf("its intensities are of another kind (%s) than those of the provider (%s), which knows nothing of the past", b, a)
		return z.actuals, nil
	}
	said.Ratio = 1
	return told.actuals, nil
}

// areComparable reports whether two signals may be the same: what is not stated may be anything.
func areComparable(a, b forecast.Signal) bool {
	mayBeSame := func(x, y string) bool { return x == "" || y == "" || x == y }
	return mayBeSame(string(a.Kind), string(b.Kind)) && mayBeSame(string(a.EmissionFactors), string(b.EmissionFactors))
}

// missing returns the slots of a series that begin where the provider knows nothing.
func (z *zone) missing(s *forecast.Series) *forecast.Series {
	return forecast.NewSeries(slices.DeleteFunc(s.Slots(), func(slot forecast.Slot) bool {
		_, isKnown := z.actuals.At(slot.Start)
		return isKnown
	}))
}

// askSecond asks the second sources of some zones of which they are due, and reports whether there may be
// news. One that does not answer is left alone, and keeps no other from being asked.
func (a *asker) askSecond(ctx context.Context) bool {
	if a.source.second.kind == "" {
		return false
	}
	due, failures := a.zonesForSecond(ctx), map[provider.Type]int{}
	for _, z := range due[:min(len(due), maxSecondZones)] {
		of := z.second.of
		if a.hasOtherTargets() || ctx.Err() != nil {
			return true
		}
		if failures[of] >= maxFailuresInARow {
			continue
		}
		err := a.askSecondOf(ctx, z)
		if err != nil {
			log.FromContext(ctx).V(1).Info("a second source has no answer", "provider", of, "zone", z.second.told.name, "why", err.Error())
		}
		if failures[of] = failuresWith(failures[of], err); failures[of] == 0 {
			delete(a.secondSilence, of)
		} else if failures[of] >= maxFailuresInARow {
			a.postponeSecond(of, err)
		}
	}
	return len(due) > 0
}

// postponeSecond leaves a second source alone that has not answered for several zones in a row: longer each
// time. The zones that were not asked for come first then.
func (a *asker) postponeSecond(of provider.Type, err error) {
	p := problem{kind: problemOf(err).kind, text: "it does not answer: " + causeOf(err)} // the text of the error names another zone
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.exporter.Clock.Now()
	next := now.Add(pauseAfter(a.secondSilence[of], firstPause, maxPause))
	if a.secondSilence == nil {
		a.secondSilence = map[provider.Type]int{}
	}
	a.secondSilence[of]++
	for _, z := range a.zones {
		told, due := z.second.told, next
		if told == nil || z.second.of != of {
			continue
		}
		if z.second.due().After(now) { // it was asked for, or is not due
			due = next.Add(time.Second)
		} else if told.past.problem.text == "" {
			told.past.note(p)
		}
		told.past.due, told.recent.due = later(told.past.due, due), later(told.recent.due, due)
	}
}

// askSecondOf asks for the newest part of the past, or for an older one.
func (a *asker) askSecondOf(ctx context.Context, z *zone) error {
	of, told := a.seconds[z.second.of], z.second.told
	d, now := of.Describe(), a.exporter.Clock.Now()
	if told.hasPast() && told.recent.isDue(now) {
		r, err := of.Past(ctx, told.name, told.recentFrom(now), now)
		a.note(func(now time.Time) {
			if err != nil {
				told.missRecent(err, now)
			} else {
				told.receiveRecent(r, now, a.roundAfter(now, d.Rhythm))
			}
		})
		return err
	}
	err := a.askPastOf(ctx, told, of, d)
	if err != nil {
		a.note(func(now time.Time) { told.missPast(err, now) })
	}
	return err
}

// zonesForSecond returns the zones of which a second source is due, the one that waits longest first.
func (a *asker) zonesForSecond(ctx context.Context) []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*zone
	for _, z := range a.zones {
		a.chooseSecond(ctx, z)
		if z.second.told != nil && !z.second.due().After(now) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(x.second.due().Compare(y.second.due()), strings.Compare(x.name, y.name))
	})
	return due
}

// due returns when the second source is due.
func (s zoneSecond) due() time.Time {
	if !s.told.hasPast() {
		return s.told.past.due
	}
	return earlier(s.told.past.due, s.told.recent.due)
}

// eachSecondDue calls a function with the instants at which second sources are due. The caller holds a.mu.
func (a *asker) eachSecondDue(see func(due time.Time)) {
	for _, z := range a.zones {
		if z.second.told != nil {
			see(z.second.due())
		}
	}
}

// chooseSecond finds out whom else to ask of a zone, once the provider is known. The caller holds a.mu.
func (a *asker) chooseSecond(ctx context.Context, z *zone) {
	of, name := a.source.secondOf(z.name)
	switch {
	case z.origin == (forecast.Origin{}):
	case z.origin.Signal.Kind == forecast.Marginal: // nobody else has these
		z.second = zoneSecond{}
		if of != "" && a.source.second.kind != secondAuto {
			z.second = zoneSecond{of: of, problem: "the intensities of the provider are marginal, and its own are average"}
		}
	case of == "":
		z.second = zoneSecond{}
	case of != z.second.of || z.second.told == nil:
		z.second = zoneSecond{of: of, before: z.second.before}
		if err := a.makeSecond(of); err != nil {
			log.FromContext(ctx).V(1).Info("a second source cannot be asked", "provider", of, "why", err.Error())
			z.second.problem = "it cannot be asked: " + err.Error()
			return
		}
		z.second.told = &zone{name: name}
		z.second.told.belongTo(a.seconds[of].Describe())
		if before := z.second.before.said; before.Provider != z.second.told.origin.Provider || before.Zone != name {
			z.second.before = pastBefore{}
		}
	}
}

// makeSecond makes a second source, if that was not done yet.
func (a *asker) makeSecond(of provider.Type) error {
	if a.seconds[of] != nil {
		return nil
	}
	made, err := provider.New(provider.Config{Type: of, BaseURL: a.source.second.baseURL, Options: a.exporter.optionsOf(of)})
	if err != nil {
		return err //nolint:wrapcheck // it says all
	}
	if a.seconds == nil {
		a.seconds = map[provider.Type]provider.Provider{}
	}
	a.seconds[of] = made
	return nil
}
