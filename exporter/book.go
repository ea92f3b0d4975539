package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// maxSize bounds what a ConfigMap has, in bytes. The API server takes 1 MiB.
	maxSize = 900 << 10
	// maxWriteAttempts bounds the attempts of one write if others write, too.
	maxWriteAttempts = 5
	// writeTimeout bounds one write.
	writeTimeout = 30 * time.Second
	// dataKey is the key of the forecast in the format of the carbon-intensity exporter.
	dataKey = "data"
	// managedByLabel with managedBy selects the ConfigMaps of the exporter, and copies of them.
	managedByLabel, managedBy = "app.kubernetes.io/managed-by", "gridlatch-export"
	// ownNameAnnotation has the name of the ConfigMap. So it marks a ConfigMap that the exporter has
	// created, and marks no copy under another name.
	ownNameAnnotation = v1alpha1.Prefix + "exported-as"
	nameLabel         = "app.kubernetes.io/name"
)

// isOurs reports whether the exporter has created a ConfigMap.
func isOurs(configMap metav1.Object) bool {
	return configMap.GetAnnotations()[ownNameAnnotation] == configMap.GetName()
}

// book is a target, and what is known of its ConfigMap.
type book struct {
	target

	// isOpen reports whether the ConfigMap was read. It is not written before.
	isOpen bool
	// isUnwritten reports whether there has been no write, or the last one has failed.
	isUnwritten bool
	// hasForecast reports whether the ConfigMap had a forecast when it was read, or as it was written
	// last, even if that write has failed.
	hasForecast bool
	// failures counts the writes that have failed in a row, and retryAt is when to try again.
	failures int
	retryAt  time.Time
	// version is the resourceVersion of the ConfigMap as it should be.
	version string
	// before is what the ConfigMap had when it was read. The series of a location stay until the
	// provider has said something of its zone, as when the policy names another provider.
	before forecast.Document
}

// openBooks reads the ConfigMaps that were not read yet, so that what an earlier run has learned is
// not asked for again.
func (a *asker) openBooks(ctx context.Context) {
	a.mu.Lock()
	var closed []*book
	for _, b := range a.books {
		if !b.isOpen {
			closed = append(closed, b)
		}
	}
	a.mu.Unlock()
	for _, b := range closed {
		document, err := a.exporter.readDocument(ctx, b.configMap())
		if err != nil {
			log.FromContext(ctx).Error(err, "cannot read a ConfigMap", "configMap", b.configMap())
			continue
		}
		a.mu.Lock()
		b.isOpen, b.isUnwritten, b.before = true, true, document
		b.hasForecast = len(document.Series) > 0
		a.restore(document)
		a.checkOrigins()
		a.mu.Unlock()
	}
}

// restore takes over what a ConfigMap has of zones of which nothing is known yet.
func (a *asker) restore(document forecast.Document) {
	for location, details := range document.Details {
		z, ok := a.zones[details.Origin.Zone]
		if !ok || z.isKnown() {
			continue
		}
		z.origin, z.attribution, z.issued, z.lacksForecast = details.Origin, details.Attribution, details.Issued, details.LacksForecast
		z.forecast, z.actuals = document.Series[location], document.Actuals[location]
		a.restoreWeather(z, document.Weather[location], details.WeatherReceived, a.exporter.Clock.Now())
		a.restoreSecond(z, details, document.Levelled[location])
	}
}

// readDocument reads what the exporter has written before. What cannot be read counts as nothing.
func (e *Exporter) readDocument(ctx context.Context, name string) (forecast.Document, error) {
	var found corev1.ConfigMap
	err := e.APIReader.Get(ctx, client.ObjectKey{Namespace: e.Namespace, Name: name}, &found)
	if apierrors.IsNotFound(err) {
		return forecast.Document{}, nil
	}
	if err != nil {
		return forecast.Document{}, fmt.Errorf("read ConfigMap %s: %w", name, err)
	}
	if !isOurs(&found) {
		return forecast.Document{}, nil
	}
	document, err := forecast.FromConfigMap(found.BinaryData, found.Data, dataKey, e.Clock.Now())
	if err != nil { // such as a ConfigMap with nothing but a message
		log.FromContext(ctx).V(1).Info("a ConfigMap has no forecast", "configMap", name, "why", err.Error())
	}
	return document, nil
}

// writeAll writes the ConfigMaps whose content has changed.
func (a *asker) writeAll(ctx context.Context) {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.mu.Lock()
	var unwritten []*book
	for _, b := range a.books {
		if a.hasNews || b.isUnwritten && !a.exporter.Clock.Now().Before(b.retryAt) {
			unwritten = append(unwritten, b)
		}
	}
	a.hasNews, a.hasFirst, a.written = false, false, a.exporter.Clock.Now()
	a.mu.Unlock()
	for _, b := range unwritten {
		a.write(ctx, b)
	}
}

// write writes one ConfigMap if its content has changed. The caller holds a.writing.
func (a *asker) write(ctx context.Context, b *book) {
	a.mu.Lock()
	document, isOpen := a.document(b), b.isOpen
	b.hasForecast = b.hasForecast || len(document.Series) > 0
	a.mu.Unlock()
	if !isOpen || ctx.Err() != nil {
		return
	}
	version, err := a.exporter.write(ctx, b.configMap(), document)
	a.mu.Lock()
	defer a.mu.Unlock()
	b.isUnwritten, b.version = err != nil, version
	if err == nil {
		b.failures, b.retryAt = 0, time.Time{}
	} else {
		b.retryAt = a.exporter.Clock.Now().Add(pauseAfter(b.failures, apiRetryPause, idlePause))
		b.failures++
		log.FromContext(ctx).Error(err, "cannot write a forecast", "configMap", b.configMap())
	}
}

// document returns what is known of the locations of a target.
func (a *asker) document(b *book) forecast.Document {
	d := forecast.Document{
		Series: map[string]*forecast.Series{}, Actuals: map[string]*forecast.Series{}, Details: map[string]forecast.Details{},
		Weather: map[string]forecast.Weather{}, Levelled: map[string]*forecast.Series{},
		Message: a.message(b),
	}
	now := a.exporter.Clock.Now()
	for _, p := range b.places {
		z := a.zones[p.zone]
		details, series := z.details(), z.forecast
		actuals, levelled := z.wholePast(&details, now)
		if before, ok := b.before.Details[p.location]; ok && !z.isKnown() {
			details, series, actuals = before, b.before.Series[p.location], b.before.Actuals[p.location]
			levelled = b.before.Levelled[p.location]
			details.Problem = z.details().Problem
		}
		if details.Origin == (forecast.Origin{}) {
			continue // nobody was asked yet
		}
		details.Problem = cmp.Or(a.problem, details.Problem) // nobody can be asked about any location
		d.Details[p.location] = details
		if !series.IsEmpty() {
			d.Series[p.location] = series
		}
		if !actuals.IsEmpty() {
			d.Actuals[p.location] = actuals
		}
		if !levelled.IsEmpty() {
			d.Levelled[p.location] = levelled
		}
		if weather := a.weatherOf(z, now); len(weather) > 0 {
			d.Weather[p.location] = weather
		}
		if a.provider != nil && z.isKnown() {
			delete(b.before.Details, p.location) // never again: the series are of one origin
			delete(b.before.Series, p.location)
			delete(b.before.Actuals, p.location)
			delete(b.before.Levelled, p.location)
		}
	}
	return d
}

// repair writes the ConfigMaps again that somebody has changed or deleted. versions has the
// ConfigMaps that are there.
func (a *asker) repair(ctx context.Context, versions map[string]string) {
	a.mu.Lock()
	var spoilt []*book
	for _, b := range a.books {
		if b.version != "" && versions[b.configMap()] != b.version {
			spoilt = append(spoilt, b)
		}
	}
	a.mu.Unlock()
	if len(spoilt) == 0 {
		return
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	for _, b := range spoilt {
		a.write(ctx, b)
	}
}

// write brings a ConfigMap up to date, and returns its resourceVersion. It writes nothing if the
// content is the same. The ConfigMap is updated in place and is not immutable, because an immutable
// one can only be replaced, and readers would find none in between.
func (e *Exporter) write(ctx context.Context, name string, document forecast.Document) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	binary, data, err := fit(document, e.Clock.Now(), maxSize)
	if err != nil {
		e.Metrics.countWrite(outcomeFailed)
		return "", err
	}
	wanted := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: name, Labels: map[string]string{managedByLabel: managedBy, nameLabel: "gridlatch"}, Annotations: map[string]string{ownNameAnnotation: name}},
		BinaryData: binary, Data: data,
	}
	for range maxWriteAttempts {
		if version, err = e.put(ctx, wanted); err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	if err != nil {
		outcome := outcomeFailed
		if errors.Is(err, errNotOurs) {
			outcome = outcomeRefused
		}
		e.Metrics.countWrite(outcome)
		return "", fmt.Errorf("write ConfigMap %s: %w", name, err)
	}
	return version, nil
}

// errNotOurs says that somebody else has created a ConfigMap.
var errNotOurs = errors.New("somebody else has created it, and the exporter does not overwrite it: delete it, and the exporter creates its own")

// put makes one attempt to write a ConfigMap.
func (e *Exporter) put(ctx context.Context, wanted *corev1.ConfigMap) (version string, err error) {
	var found corev1.ConfigMap
	err = e.APIReader.Get(ctx, client.ObjectKeyFromObject(wanted), &found)
	switch {
	case apierrors.IsNotFound(err):
		return e.create(ctx, wanted)
	case err != nil:
		return "", err
	case !isOurs(&found):
		return "", errNotOurs
	case found.Immutable != nil && *found.Immutable: // somebody else has made it so
		if err := e.Client.Delete(ctx, &found, client.Preconditions{UID: &found.UID}); err != nil && !apierrors.IsNotFound(err) {
			return "", err
		}
		return e.create(ctx, wanted)
	case found.Labels[managedByLabel] == managedBy && forecast.HasSameContent(found.BinaryData, wanted.BinaryData, found.Data, wanted.Data):
		return found.ResourceVersion, nil
	}
	if found.Labels == nil {
		found.Labels = map[string]string{}
	}
	maps.Copy(found.Labels, wanted.Labels)
	found.BinaryData, found.Data = wanted.BinaryData, wanted.Data
	if err := e.Client.Update(ctx, &found); err != nil {
		return "", err
	}
	e.Metrics.countWrite(outcomeUpdated)
	return found.ResourceVersion, nil
}

func (e *Exporter) create(ctx context.Context, wanted *corev1.ConfigMap) (version string, err error) {
	created := wanted.DeepCopy()
	if err := e.Client.Create(ctx, created); err != nil {
		return "", err
	}
	e.Metrics.countWrite(outcomeCreated)
	return created.ResourceVersion, nil
}

// fit returns what a ConfigMap has for a document. If that is too large, the weather that is over is left
// out. If that is not enough, the slots of the forecasts become longer. Then all weather is left out,
// then the oldest actual intensities, and then all series. The note, or at last the message, says so.
func fit(d forecast.Document, now time.Time, limit int) (binary map[string][]byte, data map[string]string, err error) {
	for fitted := range smaller(d, now) {
		if leastSize(fitted) > limit {
			continue // what does not fit need not be encoded
		}
		if binary, data, err = fitted.ConfigMap(now); err != nil {
			return nil, nil, fmt.Errorf("encode the forecasts: %w", err)
		}
		if sizeOf(binary, data) <= limit {
			break
		}
	}
	return binary, data, nil
}

// smaller yields a document, and then documents with less and less in them. The last one has a message
// and nothing else.
func smaller(d forecast.Document, now time.Time) iter.Seq[forecast.Document] {
	const widest, minActuals = 6 * time.Hour, 24 * time.Hour
	return func(yield func(forecast.Document) bool) {
		if !yield(d) {
			return
		}
		d.Weather = aheadOf(d.Weather, now)
		for _, width := range []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour, widest} {
			if !yield(widened(d, width)) {
				return
			}
		}
		d.Weather = nil
		for kept := retention / 2; kept >= minActuals; kept /= 2 {
			if !yield(newest(widened(d, widest), kept)) {
				return
			}
		}
		yield(forecast.Document{Message: sentence("the forecasts do not fit into a ConfigMap: name fewer locations in the policy", d.Message)})
	}
}

// aheadOf returns the weather without the hours that are over. Readers keep those that they have seen.
func aheadOf(weather map[string]forecast.Weather, now time.Time) map[string]forecast.Weather {
	ahead := make(map[string]forecast.Weather, len(weather))
	for location, hours := range weather {
		first := slices.IndexFunc(hours, func(hour forecast.WeatherHour) bool { return hour.Start.Add(time.Hour).After(now) })
		if first >= 0 {
			ahead[location] = hours[first:]
		}
	}
	return ahead
}

// sentence joins two sentences, of which the second may be empty.
func sentence(first, second string) string {
	if second == "" {
		return first
	}
	return first + "; " + second
}

// newest returns a document without the older actual intensities.
func newest(d forecast.Document, kept time.Duration) forecast.Document {
	cut := func(whole map[string]*forecast.Series) map[string]*forecast.Series {
		part := make(map[string]*forecast.Series, len(whole))
		for location, s := range whole {
			oldest := s.End().Add(-kept)
			part[location] = forecast.NewSeries(slices.DeleteFunc(s.Slots(), func(slot forecast.Slot) bool { return slot.Start.Before(oldest) }))
		}
		return part
	}
	d.Actuals, d.Levelled = cut(d.Actuals), cut(d.Levelled)
	d.Note += fmt.Sprintf(", and only the actual intensities of the last %v days", kept.Hours()/24)
	return d
}

// leastSize returns a size in bytes that the forecasts of a document take at least.
func leastSize(d forecast.Document) int {
	const element = `{"location":"","timestamp":"2026-11-26T10:00:00Z","duration":5,"value":1},`
	size := 0
	for location, s := range d.Series {
		size += len(s.Slots()) * (len(element) + len(location))
	}
	return size
}

// widened returns a document whose forecasts have longer slots. The width 0 stands for the slots as they
// are.
func widened(d forecast.Document, width time.Duration) forecast.Document {
	if width == 0 {
		return d
	}
	series := make(map[string]*forecast.Series, len(d.Series))
	for location, s := range d.Series {
		series[location] = forecast.NewSeries(means(s, width))
	}
	d.Series = series
	d.Note = fmt.Sprintf("a ConfigMap has no room for more than forecasts in slots of %.0f h", width.Hours())
	return d
}

func sizeOf(binary map[string][]byte, data map[string]string) int {
	size := 0
	for key, value := range binary {
		size += len(key) + len(value)
	}
	for key, value := range data {
		size += len(key) + len(value)
	}
	return size
}
