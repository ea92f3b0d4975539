package exporter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// jitterShare is the share of a provider's rhythm over which clusters spread their questions.
	// delayShare is the share that a provider has to make its values, since its clock may be behind.
	jitterShare, delayShare = 0.25, 1.0 / 60
	// maxFailuresInARow ends a round: a provider that does not answer is not asked for 60 more zones.
	maxFailuresInARow = 3
	// refusedPause is how long a provider is left alone that has refused the key, unless the Secret
	// changes.
	refusedPause = time.Hour
	// apiRetryPause is the pause after a failure of the API server.
	apiRetryPause = 10 * time.Second
	// idlePause is the longest time without a look at what is due.
	idlePause = 10 * time.Minute
)

// asker asks one source, for all targets that name it, and writes their ConfigMaps. One goroutine
// calls [asker.step] at a time. Other methods are safe for concurrent use.
type asker struct {
	exporter *Exporter
	source   source
	wake     chan struct{}
	// phase is where in its rhythm a provider is asked, from 0 to 1. It is the same for all zones, so
	// that a round leads to one write.
	phase float64

	// provider is nil while nobody can be asked. Only step uses these fields.
	provider   provider.Provider
	keyVersion string    // of the Secret that was read last
	usedKey    string    // of the Secret that the last provider was made with
	keyDue     time.Time // when to read the Secret again
	notBefore  time.Time // when to ask the provider again
	began      time.Time // of the step. What is asked in one step is due again at the same time

	writing sync.Mutex // held while ConfigMaps are written

	mu          sync.Mutex // guards what follows
	description provider.Description
	problem     string // why nobody can be asked
	books       map[string]*book
	zones       map[string]*zone
	hasNews     bool // since the ConfigMaps were written
}

// newAsker makes an asker without targets.
func newAsker(e *Exporter, s source) *asker {
	return &asker{exporter: e, source: s, wake: make(chan struct{}, 1), phase: e.jitter(), books: map[string]*book{}, zones: map[string]*zone{}}
}

// assign replaces the targets. It waits for ConfigMaps that are being written.
func (a *asker) assign(targets []target) {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	books, zones, hasChanged := map[string]*book{}, map[string]*zone{}, false
	for _, t := range targets {
		b, ok := a.books[t.policy]
		if !ok || !slices.Equal(b.places, t.places) {
			b, hasChanged = &book{target: t}, true
		}
		books[t.policy] = b
		for _, p := range t.places {
			if zones[p.zone] = a.zones[p.zone]; zones[p.zone] == nil {
				zones[p.zone] = &zone{name: p.zone}
			}
		}
	}
	a.books, a.zones = books, zones
	if hasChanged {
		a.poke()
	}
}

// poke makes run look at once.
func (a *asker) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run asks and writes until the context ends.
func (a *asker) run(ctx context.Context) {
	for ctx.Err() == nil {
		next := a.step(ctx)
		timer := a.exporter.Clock.NewTimer(max(time.Second, next.Sub(a.exporter.Clock.Now())))
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-a.wake:
		}
		timer.Stop()
	}
}

// step asks for all that is due, writes what has changed, and returns when to look again.
func (a *asker) step(ctx context.Context) time.Time {
	a.began = a.exporter.Clock.Now()
	a.openBooks(ctx)
	a.findKey(ctx)
	a.ask(ctx, inquiry{func(z *zone) *question { return &z.expected }, a.askForecast, (*zone).missForecast})
	a.ask(ctx, inquiry{func(z *zone) *question {
		if !z.hasPast() {
			return nil // the newest part of the past comes first
		}
		return &z.recent
	}, a.askRecent, (*zone).missRecent})
	a.writeAll(ctx)
	if a.ask(ctx, inquiry{func(z *zone) *question { return &z.past }, a.askPast, (*zone).missPast}) {
		a.writeAll(ctx)
	}
	return a.nextLook()
}

// inquiry is a question about many zones.
type inquiry struct {
	// question returns the question about one zone; nil if there is none now.
	question func(*zone) *question
	ask      func(context.Context, *zone) error
	// miss notes that there is no answer about one zone.
	miss func(z *zone, err error, now time.Time)
}

// dueZones returns the zones of which a question is due. Those come first that were not asked for the
// longest time, so that zones that always fail keep no others from being asked for.
func (a *asker) dueZones(of inquiry) []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provider == nil || now.Before(a.notBefore) {
		return nil
	}
	var due []*zone
	for _, z := range a.zones {
		if q := of.question(z); q != nil && q.isDue(now) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(of.question(x).asked.Compare(of.question(y).asked), strings.Compare(x.name, y.name))
	})
	return due
}

// ask asks for one zone after the other, and reports whether any was due. If the provider answers for
// none, the zones that were not asked for have the same problem.
func (a *asker) ask(ctx context.Context, of inquiry) bool {
	due, inARow := a.dueZones(of), 0
	for i, z := range due {
		err := of.ask(ctx, z)
		if ctx.Err() != nil {
			return true
		}
		a.note(func(now time.Time) {
			of.question(z).asked = now
			if err != nil {
				of.miss(z, err, now)
			}
		})
		if err == nil || isOfTheZone(err) {
			inARow = 0
			continue
		}
		log.FromContext(ctx).V(1).Info("a provider has no answer", "provider", a.source.kind, "zone", z.name, "why", err.Error())
		if inARow++; a.endsRound(err, inARow) {
			a.note(func(now time.Time) {
				for _, other := range due[i+1:] {
					of.miss(other, err, now)
				}
			})
			return true
		}
	}
	return len(due) > 0
}

// endsRound reports whether the error is about all zones, and notes when to ask again.
func (a *asker) endsRound(err error, inARow int) bool {
	pause := time.Duration(0)
	switch {
	case errors.Is(err, provider.ErrRefusedKey):
		pause = refusedPause
		a.keyDue = time.Time{} // perhaps there is a new one already
	case errors.Is(err, provider.ErrRateLimited):
		pause = firstPause
		if status, ok := errors.AsType[*provider.StatusError](err); ok {
			pause = max(pause, status.RetryAfter)
		}
	case inARow == maxFailuresInARow:
		pause = firstPause
	default:
		return false
	}
	a.notBefore = a.exporter.Clock.Now().Add(pause)
	return true
}

// nextRound returns when the provider has new values.
func (a *asker) nextRound(now time.Time) time.Time {
	rhythm := a.description.Rhythm
	delay := (delayShare + a.phase*jitterShare) * float64(rhythm)
	return now.Truncate(rhythm).Add(rhythm + time.Duration(delay))
}

func (a *asker) askForecast(ctx context.Context, z *zone) error {
	if a.description.Forecasts == provider.Unavailable {
		return provider.ErrUnavailable
	}
	r, err := a.provider.Forecast(ctx, z.name)
	if err == nil {
		a.note(func(now time.Time) { z.receiveForecast(r, now, a.nextRound(now)) })
	}
	return err
}

func (a *asker) askRecent(ctx context.Context, z *zone) error {
	now := a.exporter.Clock.Now()
	r, err := a.provider.Past(ctx, z.name, z.recentFrom(now), now)
	if err == nil {
		a.note(func(now time.Time) { z.receiveRecent(r, now, a.nextRound(now)) })
	}
	return err
}

func (a *asker) askPast(ctx context.Context, z *zone) error {
	from, to, isDone := z.nextPast(a.exporter.Clock.Now())
	if isDone {
		a.note(func(now time.Time) { z.past.succeed(now.Add(retention), problem{}) })
		return nil
	}
	r, err := a.provider.Past(ctx, z.name, from, to)
	if err == nil {
		a.note(func(now time.Time) { z.receivePast(r, from, now, a.nextRound(now)) })
	}
	return err
}

// note changes what is known of zones.
func (a *asker) note(change func(now time.Time)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.began)
	a.hasNews = true
}

// findKey reads the Secret, if the source has one, and makes the provider.
func (a *asker) findKey(ctx context.Context) {
	now := a.exporter.Clock.Now()
	if now.Before(a.keyDue) || a.source.secret == "" && a.keyVersion != "" {
		return
	}
	k := key{version: "none"}
	if a.source.secret != "" {
		var err error
		if k, err = readKey(ctx, a.exporter.APIReader, a.exporter.Namespace, a.source.secret, a.source.kind); err != nil {
			log.FromContext(ctx).Error(err, "cannot read a Secret", "secret", a.source.secret)
			a.keyDue = now.Add(apiRetryPause)
			return
		}
		a.keyDue = now.Add(secretInterval)
		if k.version == a.keyVersion && k.problem == "" && a.provider != nil {
			return
		}
	}
	a.makeProvider(ctx, k)
}

// makeProvider makes the provider anew, and asks at once what waits for another key.
func (a *asker) makeProvider(ctx context.Context, k key) {
	made, err := provider.Provider(nil), error(nil)
	if k.problem == "" {
		if made, err = provider.New(a.source.config(k.credentials, a.exporter.optionsOf(a.source.kind))); err != nil {
			k.problem = "the provider cannot be used: " + err.Error()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if k.problem != a.problem {
		log.FromContext(ctx).Info("looked for a provider", "provider", a.source.kind, "secret", a.source.secret, "problem", k.problem)
	}
	a.hasNews = a.hasNews || k.problem != a.problem || made != nil
	a.provider, a.problem, a.keyVersion = nil, k.problem, k.version
	if k.problem != "" {
		return
	}
	a.provider, a.description, a.notBefore = made, made.Describe(), time.Time{}
	for _, z := range a.zones {
		if now := a.exporter.Clock.Now(); a.usedKey != "" && a.usedKey != k.version {
			z.expected.due, z.recent.due, z.past.due = now, now, now
		}
	}
	a.usedKey = k.version
	a.checkOrigins()
}

// checkOrigins makes zones forget what comes from elsewhere. What an earlier run has learned is
// asked for again in the next round.
func (a *asker) checkOrigins() {
	if a.provider == nil {
		return
	}
	for _, z := range a.zones {
		z.belongTo(forecast.Origin{
			Provider: a.description.Source, Zone: z.name, Signal: a.description.Signal, IsMadeUp: a.description.IsMadeUp,
		}, a.description.Attribution)
		if z.expected.due.IsZero() && !z.forecast.IsEmpty() {
			z.expected.due = a.nextRound(z.issued)
		}
		if z.recent.due.IsZero() && !z.actuals.IsEmpty() {
			z.recent.due = a.nextRound(z.actuals.End())
		}
	}
}

// nextLook returns when something is due.
func (a *asker) nextLook() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.exporter.Clock.Now()
	next := now.Add(idlePause)
	soonest := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if a.source.secret != "" {
		soonest(a.keyDue)
	}
	for _, b := range a.books {
		switch {
		case !b.isOpen:
			soonest(now.Add(apiRetryPause))
		case b.isUnwritten:
			soonest(later(b.retryAt, now))
		}
	}
	if a.provider == nil {
		return next
	}
	for _, z := range a.zones {
		due := z.expected.due
		if z.hasPast() {
			due = earlier(due, z.recent.due)
		}
		due = earlier(due, z.past.due)
		if due.Before(a.notBefore) {
			due = a.notBefore
		}
		soonest(due)
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// message says in one sentence what is wrong; "" if nothing is.
func (a *asker) message(b *book) string {
	var parts []string
	if a.problem != "" {
		parts = append(parts, a.problem)
	}
	first, others := "", 0
	for _, p := range b.places {
		text := a.zones[p.zone].details().Problem
		switch {
		case text == "":
		case first == "":
			first = text
		default:
			others++
		}
	}
	if first != "" && others > 0 {
		first += " (" + countOf(others, "more location has", "more locations have") + " a problem)"
	}
	if first != "" {
		parts = append(parts, first)
	}
	return strings.Join(parts, "; ")
}
