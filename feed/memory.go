package feed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// saveInterval is how often the histories are saved. What a crash loses is learned again from
	// later forecasts.
	saveInterval = 20 * time.Minute
	// recallRetryPause is the pause before a history that cannot be used yet is read again.
	recallRetryPause = 5 * time.Minute
	// readRetryPause is the pause before histories are read again after a read has failed.
	readRetryPause = time.Second
	// saveTimeout bounds the last save at the end of the program.
	saveTimeout = 5 * time.Second
	// historyLifetime is how long a history is kept that nobody writes any more. The models
	// remember no longer either.
	historyLifetime = 8 * 7 * 24 * time.Hour
)

// Memory keeps what the models have learned over restarts, in one ConfigMap for each location of a
// source. Every replica reads the histories, and the leader writes them. All exported fields are
// required.
type Memory struct {
	Clientset kubernetes.Interface
	// Namespace is the namespace of Gridlatch.
	Namespace string
	Store     *forecast.Store
	Clock     policy.Clock

	// mu is never locked during a call to the API server or while a model learns, because readiness
	// waits for the lock.
	mu sync.Mutex
	// recalled has the sources whose histories have been read and may be written, and for each
	// source the names of ConfigMaps that cannot be used yet and must not be written.
	recalled map[forecast.Source]map[string]bool
}

// Recall restores the models of a source from their histories, and reports whether all histories
// were used or given up. Recall tries until the API server answers or the context ends. Recall logs
// a history that cannot be used, and the model learns anew. A history that begins in the future, or
// for which the time of the context was too short, is not overwritten: the caller calls Recall
// again, and Recall then looks only at such histories.
func (m *Memory) Recall(ctx context.Context, source forecast.Source, now time.Time) bool {
	var found *corev1.ConfigMapList
	ended := wait.PollUntilContextCancel(ctx, readRetryPause, true, func(ctx context.Context) (bool, error) {
		var err error
		found, err = m.configMaps().List(ctx, metav1.ListOptions{LabelSelector: history.SourceLabel + "=" + history.Digest(source.String())})
		if err != nil {
			log.FromContext(ctx).Info("cannot read the histories, trying again", "source", source, "why", err.Error())
		}
		return err == nil, nil
	})
	if ended != nil {
		return true
	}
	waited, again := m.writable()[source]
	waits := map[string]bool{}
	for i := range found.Items {
		c := &found.Items[i]
		if again && !waited[c.Name] {
			continue // the model has learned more since
		}
		if ctx.Err() != nil {
			waits[c.Name] = true
			continue
		}
		_, err := history.RestoreFrom(m.Store, source, found.Items[i:i+1], now)
		if err == nil {
			continue
		}
		fate := "the history is overwritten"
		if errors.Is(err, forecast.ErrFromFuture) {
			waits[c.Name], fate = true, "the history is kept and read again later"
		}
		if !again {
			log.FromContext(ctx).Info("cannot use a history", "source", source, "why", err.Error(), "so", fate)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(ctx.Err(), context.Canceled) {
		return true // nobody follows the source any more, and Forget was or will be called
	}
	if m.recalled == nil {
		m.recalled = map[forecast.Source]map[string]bool{}
	}
	m.recalled[source] = waits
	return len(waits) == 0
}

// Forget stops the writing of a source until the next Recall. The store has forgotten the source.
func (m *Memory) Forget(source forecast.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.recalled, source)
}

// Start saves the histories from time to time, and once more when the context ends. A manager calls
// Start on the leader.
func (m *Memory) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		m.save(ctx)
		if err := m.discard(ctx, m.Clock.Now()); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "cannot delete histories that are not used any more, trying again later")
		}
	}, saveInterval)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	m.save(last)
	return nil
}

// save writes the histories that have changed. A history that could not be written is written at
// the next save.
func (m *Memory) save(ctx context.Context) {
	for source, waits := range m.writable() {
		snapshot := m.Store.Snapshot(source)
		for _, location := range snapshot.Locations() {
			if waits[history.ConfigMapName(source, location)] {
				continue
			}
			f, ok := snapshot.Forecast(location)
			if !ok || f.Location != location {
				continue // the newest forecast does not have the location
			}
			if err := m.write(ctx, source, f); err != nil {
				log.FromContext(ctx).Error(err, "cannot save a history, trying again later", "source", source, "location", location)
			}
		}
	}
}

// writable returns the sources that may be written, as in recalled. The inner maps never change.
func (m *Memory) writable() map[forecast.Source]map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.recalled)
}

// discard deletes histories that are not used any more: nobody follows their source or location,
// and nobody has written them for historyLifetime.
func (m *Memory) discard(ctx context.Context, now time.Time) error {
	found, err := m.configMaps().List(ctx, metav1.ListOptions{LabelSelector: history.SourceLabel})
	if err != nil {
		return fmt.Errorf("list the histories: %w", err)
	}
	known, problems := m.writable(), []error(nil)
	for i := range found.Items {
		c := &found.Items[i]
		source, location := forecast.ParseSource(c.Annotations[history.SourceAnnotation]), c.Annotations[v1alpha1.LocationAnnotation]
		_, followed := known[source]
		switch {
		case c.Name != history.ConfigMapName(source, location): // not a history of Gridlatch's
		case now.Sub(history.LastWritten(c, now)) <= historyLifetime:
		case followed && slices.Contains(m.Store.Snapshot(source).Locations(), location):
		default:
			log.FromContext(ctx).Info("deleting a history that is not used any more", "source", source, "location", location)
			asFound := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.UID, ResourceVersion: &c.ResourceVersion}}
			problems = append(problems, client.IgnoreNotFound(m.configMaps().Delete(ctx, c.Name, asFound)))
		}
	}
	return errors.Join(problems...)
}

// write writes the history of a location if the history has changed.
func (m *Memory) write(ctx context.Context, source forecast.Source, f forecast.Forecast) error {
	encoded, err := f.Model.Save()
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	wanted := history.ConfigMap(source, f.Location, f.Details.Origin, encoded)
	existing, err := m.configMaps().Get(ctx, wanted.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = m.configMaps().Create(ctx, wanted, metav1.CreateOptions{})
	case err == nil && history.IsWritten(existing, wanted):
		return nil
	case err == nil:
		_, err = m.configMaps().Update(ctx, wanted, metav1.UpdateOptions{})
	}
	return err
}

func (m *Memory) configMaps() corev1client.ConfigMapInterface {
	return m.Clientset.CoreV1().ConfigMaps(m.Namespace)
}
