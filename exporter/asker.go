package exporter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

const (
	// jitterShare is the share of a provider's rhythm over which clusters spread their questions.
	// delayShare is the share that a provider has to make its values, since its clock may be behind.
	jitterShare, delayShare = 0.25, 1.0 / 60
	// apiRetryPause is the pause after a failure of the API server.
	apiRetryPause = 10 * time.Second
	// maxClockStep is how far a clock may step back before the pauses are forgotten.
	maxClockStep = time.Minute
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
	provider     provider.Provider
	usedKey      digest    // of the credentials that the last provider was made with
	keyDue       time.Time // when to read the Secret again
	notBefore    time.Time // when to ask the provider again
	isKeyRefused bool      // this is why nobody is asked before notBefore
	isKeyGood    bool      // the provider has answered to the key
	silence      silence
	began        time.Time // of the step. What is asked in one step is due again at the same time
	weather      [weatherRoles]weatherAsker
	seconds      map[provider.Type]provider.Provider // the second sources that were made
	// secondSilence is how often in a row a second source had no answer for several zones.
	secondSilence map[provider.Type]int
	written       time.Time // when the ConfigMaps were written, or a round began

	writing sync.Mutex // held while ConfigMaps are written

	mu          sync.Mutex // guards what follows
	description provider.Description
	problem     string // why nobody can be asked
	books       map[string]*book
	zones       map[string]*zone
	hasNews     bool // since the ConfigMaps were written
	hasFirst    bool // among the news: an answer to a question that had none before
	isAssigned  bool // other targets, since the round began
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
	before := a.books
	a.books, a.zones = books, zones
	if hasChanged || len(books) != len(before) {
		a.isAssigned = true
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

// step asks for all that is due, writes what has changed, and returns when to look again. If there are
// other targets meanwhile, step returns early: the next step asks for what is still due.
func (a *asker) step(ctx context.Context) time.Time {
	a.beginRound()
	a.openBooks(ctx)
	a.findKey(ctx)
	a.ask(ctx, inquiry{question: func(z *zone) *question { return &z.expected }, ask: a.askForecast, miss: (*zone).missForecast})
	a.ask(ctx, inquiry{question: func(z *zone) *question {
		if !z.hasPast() {
			return nil // the newest part of the past comes first
		}
		return &z.recent
	}, ask: a.askRecent, miss: (*zone).missRecent})
	a.writeAll(ctx)
	if a.askWeather(ctx) {
		a.writeAll(ctx)
	}
	if a.ask(ctx, inquiry{question: func(z *zone) *question { return &z.past }, isFirst: true, ask: a.askPast, miss: (*zone).missPast}) {
		a.writeAll(ctx)
	}
	if a.askSecond(ctx) {
		a.writeAll(ctx)
	}
	return a.nextLook()
}

// nextRound returns when the provider has new values.
func (a *asker) nextRound(now time.Time) time.Time { return a.roundAfter(now, a.description.Rhythm) }

// roundAfter returns when somebody with a rhythm has new values.
func (a *asker) roundAfter(now time.Time, rhythm time.Duration) time.Time {
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
	return a.askPastOf(ctx, z, a.provider, a.description)
}

// askPastOf asks somebody for a part of the past.
func (a *asker) askPastOf(ctx context.Context, z *zone, of provider.Provider, d provider.Description) error {
	from, to, isDone := z.nextPast(a.exporter.Clock.Now(), d.Page)
	if isDone {
		a.note(z.endPast)
		return nil
	}
	r, err := of.Past(ctx, z.name, from, to)
	if errors.Is(err, provider.ErrNoData) {
		a.note(func(now time.Time) { z.skipPast(err, from, now) })
		return nil
	}
	if err == nil {
		a.note(func(now time.Time) { z.receivePast(r, from, now, a.roundAfter(now, d.Rhythm)) })
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
	if now.Before(a.keyDue) || a.source.secret == "" && a.provider != nil {
		return
	}
	var k key
	if a.source.secret != "" {
		var err error
		if k, err = readKey(ctx, a.exporter.APIReader, a.exporter.Namespace, a.source.secret, a.source.kind); err != nil {
			log.FromContext(ctx).Error(err, "cannot read a Secret", "secret", a.source.secret)
			a.keyDue = now.Add(apiRetryPause)
			return
		}
		a.keyDue = now.Add(secretInterval)
		if k.digest == a.usedKey && k.problem == "" && a.provider != nil {
			return
		}
	}
	a.makeProvider(ctx, k)
}

// makeProvider makes the provider anew. All is due at once with another key, but a provider that
// wants a pause gets the pause.
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
	a.provider, a.problem = nil, k.problem
	if k.problem != "" {
		return
	}
	a.provider, a.description, a.isKeyGood = made, made.Describe(), a.isKeyGood && a.usedKey == k.digest
	if a.usedKey != k.digest && a.usedKey != (digest{}) {
		a.tryKey(a.exporter.Clock.Now())
	}
	a.usedKey = k.digest
	a.checkOrigins()
}

// tryKey makes all due that was asked with another key.
func (a *asker) tryKey(now time.Time) {
	if a.isKeyRefused {
		a.notBefore, a.isKeyRefused = time.Time{}, false
	}
	a.makeAllDue(now)
}

func (a *asker) makeAllDue(now time.Time) {
	for _, z := range a.zones {
		z.expected.due, z.recent.due, z.past.due = now, now, now
		if told := z.second.told; told != nil {
			told.recent.due, told.past.due = now, now
		}
	}
}

// checkOrigins makes zones forget what comes from elsewhere. What an earlier run has learned is
// asked for again in the next round.
func (a *asker) checkOrigins() {
	if a.provider == nil {
		return
	}
	for _, z := range a.zones {
		z.belongTo(a.description)
		now := a.exporter.Clock.Now() // an earlier run may have had a clock that was ahead
		if z.expected.due.IsZero() && !z.forecast.IsEmpty() && !z.issued.After(now) {
			z.expected.due = a.nextRound(z.issued)
		}
		if z.recent.due.IsZero() && !z.actuals.IsEmpty() && !z.actuals.End().After(now) {
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
	a.eachWeatherDue(func(due time.Time) { soonest(later(due, now)) })
	a.eachSecondDue(func(due time.Time) { soonest(later(due, now)) })
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
	for role := range a.weather {
		if problem := a.weather[role].problem; problem != "" {
			parts = append(parts, problem)
		}
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
