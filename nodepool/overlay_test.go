package nodepool

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// priced has annotations that ask for prices, and more pairs.
func priced(more ...string) map[string]string {
	all := map[string]string{v1alpha1.CarbonPriceAnnotation: "200=0%,350=10%,*=25%"}
	for i := 0; i+1 < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// overlayNow returns the overlay of a pool as the API server has it, nil if there is none, and lets the
// controller know.
func (w *world) overlayNow(pool string) *unstructured.Unstructured {
	w.t.Helper()
	o := overlayOf(pool)
	err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
	switch {
	case apierrors.IsNotFound(err):
		if known := w.overlay(pool); known != nil {
			err = w.overlays.Indexer().Delete(known)
		} else {
			err = nil
		}
		o = nil
	case err == nil:
		err = w.overlays.Fill(newOverlay(o))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// price has the controller look at a pool, and returns how much dearer its nodes look, empty if they do
// not, and when to look again.
func (w *world) price(pool string) (adjustment string, again time.Duration) {
	w.t.Helper()
	again = w.look(pool)
	if o := w.overlayNow(pool); o != nil {
		adjustment, _, _ = unstructured.NestedString(o.Object, "spec", "priceAdjustment")
	}
	return adjustment, again
}

// expectPrice fails the test unless nodes of a pool look dearer by as much.
func (w *world) expectPrice(pool, want string) {
	w.t.Helper()
	if got, _ := w.price(pool); got != want {
		w.t.Errorf("at %v: price %q, want %q; Events: %v", w.grid["DE"].Intensity, got, want, w.told)
	}
}

func TestAnOverlayFollowsTheBuckets(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(v1alpha1.PowerFactorKey, "amd64=1, arm64=0.6"), nil))
	w.expectPrice("batch", "+10%")
	o := w.overlayNow("batch")
	want := map[string]any{
		"weight": int64(1), "priceAdjustment": "+10%", "requirements": []any{
			map[string]any{"key": "karpenter.sh/nodepool", "operator": "In", "values": []any{"batch"}},
			map[string]any{"key": "kubernetes.io/arch", "operator": "In", "values": []any{"amd64"}},
		},
	}
	if diff := cmp.Diff(want, o.Object["spec"]); diff != "" {
		t.Error(diff)
	}
	if o.GetLabels()["app.kubernetes.io/managed-by"] != "gridlatch" || !strings.Contains(o.GetAnnotations()[v1alpha1.ReasonAnnotation], "at DE is in the bucket <=350") {
		t.Errorf("labels %v, annotations %v", o.GetLabels(), o.GetAnnotations())
	}
	for _, step := range []struct {
		intensity float64
		after     time.Duration
		want      string
		again     time.Duration
	}{
		{500, 10 * time.Minute, "+10%", 20 * time.Minute}, // too soon
		{500, 20 * time.Minute, "+25%", 0},
		{100, time.Minute, "+25%", 29 * time.Minute},
		{345, time.Hour, "+25%", 0}, // not clean enough to be sure
		{195, time.Hour, "", 0},
		{195, time.Hour, "", 0},
		{300, time.Minute, "+10%", 0},
	} {
		w.later(step.after)
		w.turnTo("DE", step.intensity)
		got, again := w.price("batch")
		if step.again == 0 && again == time.Minute || again == seenWithin {
			again = 0
		}
		if got != step.want || again != step.again {
			t.Errorf("at %v: price %q, looked at again in %v, want %q, %v", step.intensity, got, again, step.want, step.again)
		}
	}
	for name, change := range map[string]func(*plan.Level){
		"no forecast":  func(l *plan.Level) { l.IsKnown = false },
		"an exemption": func(l *plan.Level) { l.IsExempt = true },
		"audit":        func(l *plan.Level) { l.IsAudited = true },
	} {
		w.later(time.Hour)
		before := w.grid["DE"]
		w.change("DE", change)
		w.expectPrice("batch", "")
		w.later(time.Minute)
		w.change("DE", func(l *plan.Level) { *l = before })
		if w.expectPrice("batch", "+10%"); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestAnOverlayIsWrittenOnlyWhenThePriceChanges(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(), in("DE")))
	w.expectPrice("batch", "+10%")
	version := w.overlayNow("batch").GetResourceVersion()
	for i := range 50 {
		w.later(13 * time.Minute)
		w.turnTo("DE", 250+float64(i))
		w.expectPrice("batch", "+10%")
	}
	if got := w.overlayNow("batch").GetResourceVersion(); got != version {
		t.Error("the overlay was written although the price is the same")
	}
	if len(w.patched) != 0 {
		t.Errorf("patches of the pool: %v", w.patched)
	}
}

func TestWhichNodesLookDearer(t *testing.T) {
	arch := func(names ...any) map[string]any {
		return map[string]any{"template": map[string]any{"spec": map[string]any{"requirements": []any{
			map[string]any{"key": "kubernetes.io/arch", "operator": "In", "values": names},
		}}}}
	}
	for name, c := range map[string]struct {
		power string
		spec  map[string]any
		want  []string
		isAll bool
		least float64
	}{
		"all are alike":                      {isAll: true, least: 1},
		"a factor of the pool":               {power: "0.5", isAll: true, least: 0.5},
		"amd64 takes more":                   {power: "amd64=1,arm64=0.6", want: []string{"amd64"}, least: 0.6},
		"two take more":                      {power: "s390x=2,amd64=1,arm64=0.6", want: []string{"amd64", "s390x"}, least: 0.6},
		"the pool can have only the best":    {power: "amd64=1,arm64=0.6", spec: arch("arm64"), least: 0.6},
		"the pool can have only the worst":   {power: "amd64=1,arm64=0.6", spec: arch("amd64"), want: []string{"amd64"}, least: 1},
		"the pool can have both":             {power: "amd64=1,arm64=0.6", spec: arch("amd64", "arm64"), want: []string{"amd64"}, least: 0.6},
		"the pool can have another one only": {power: "amd64=1,arm64=0.6", spec: arch("riscv64"), least: 1},
		"all take as much":                   {power: "amd64=1,arm64=1", least: 1},
	} {
		annotations := priced()
		if c.power != "" {
			annotations[v1alpha1.PowerFactorKey] = c.power
		}
		p := newPool(nodePool("batch", annotations, c.spec))
		got, isAll := p.dearer()
		if diff := cmp.Diff(c.want, got); diff != "" || isAll != c.isAll || p.power != c.least || p.powerMistake != nil {
			t.Errorf("%s: %s, all: %v, least %v, %v", name, diff, isAll, p.power, p.powerMistake)
		}
	}
}

func TestAPriceThatCannotBeReadIsAMistake(t *testing.T) {
	for _, annotations := range []map[string]string{
		{v1alpha1.CarbonPriceAnnotation: ""},
		{v1alpha1.CarbonPriceAnnotation: "*=12%"},
		{v1alpha1.CarbonPriceAnnotation: "*=-5%"},
		{v1alpha1.CarbonPriceAnnotation: "*=105%"},
		{v1alpha1.CarbonPriceAnnotation: "*=10"},
		{v1alpha1.CarbonPriceAnnotation: "*=NaN%"},
		{v1alpha1.CarbonPriceAnnotation: "*=99999999999999999999%"},
		{v1alpha1.CarbonPriceAnnotation: "350=10%,200=5%"},
		priced(v1alpha1.LocationAnnotation, "nowhere"),
		priced(v1alpha1.PolicyAnnotation, "gone"),
		priced(v1alpha1.PowerFactorKey, "amd64=NaN"),
		priced(v1alpha1.PowerFactorKey, "amd64=1,amd64=2"),
		priced(v1alpha1.PowerFactorKey, "a b=1"),
		priced(v1alpha1.PowerFactorKey, "=1"),
	} {
		w := newWorld(t)
		w.has(nodePool("batch", annotations, nil))
		w.price("batch")
		w.price("batch")
		if diff := cmp.Diff([]string{EventInvalid}, w.only(EventInvalid)); diff != "" {
			t.Errorf("%v: %v, %v", annotations, w.events, w.told)
		}
	}
}

// only returns the Events with a reason.
func (w *world) only(reason string) (found []string) {
	for _, e := range w.events {
		if e == reason {
			found = append(found, e)
		}
	}
	return found
}

func TestAnOverlayGoesWithTheWish(t *testing.T) {
	for name, end := range map[string]func(*world){
		"the annotation goes": func(w *world) {
			w.owner("batch", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) })
		},
		"the pool is left alone": func(w *world) {
			w.owner("batch", func(o *unstructured.Unstructured) {
				annotations := maps.Clone(o.GetAnnotations())
				annotations[releasedKey] = w.clock.Now().Add(time.Hour).Format(time.RFC3339)
				o.SetAnnotations(annotations)
			})
		},
		"a mistake": func(w *world) {
			w.owner("batch", func(o *unstructured.Unstructured) {
				o.SetAnnotations(map[string]string{v1alpha1.CarbonPriceAnnotation: "?"})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.has(nodePool("batch", priced(), nil))
			w.expectPrice("batch", "+10%")
			w.later(time.Minute)
			end(w)
			w.expectPrice("batch", "")
		})
	}
	w := newWorld(t)
	w.has(nodePool("batch", priced(), nil))
	w.expectPrice("batch", "+10%")
	if _, err := w.reconcilePrice(t.Context(), "batch", nil, w.clock.Now()); err != nil || w.overlayNow("batch") != nil {
		t.Errorf("the overlay outlives its pool: %v", err)
	}
}

// foreign is an overlay of somebody else with the name of ours.
func foreign() *unstructured.Unstructured {
	o := overlayOf("batch")
	o.Object["spec"] = map[string]any{"requirements": []any{}, "price": "0.05"}
	return o
}

func TestAnOverlayOfSomebodyElseStaysAsItIs(t *testing.T) {
	for _, isKnown := range []bool{true, false} {
		w := newWorld(t)
		if err := w.api.Create(t.Context(), foreign(), client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
		if isKnown {
			w.overlayNow("batch")
		}
		w.has(nodePool("batch", priced(), nil))
		w.look("batch", "batch")
		w.owner("batch", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) })
		w.look("batch")
		if _, err := Restore(t.Context(), w.api, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(foreign().Object["spec"], w.overlayNow("batch").Object["spec"]); diff != "" {
			t.Errorf("known %v: %s", isKnown, diff)
		}
		if diff := cmp.Diff([]string{EventOverlayTaken}, w.only(EventOverlayTaken)); diff != "" {
			t.Errorf("known %v: %v", isKnown, w.events)
		}
	}
}

func TestAnOverlayThatSomebodyDeletesComesBackLessAndLessOften(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(), nil))
	w.expectPrice("batch", "+10%")
	for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		w.later(time.Minute)
		w.expectPrice("batch", "+10%")
		if err := w.api.Delete(t.Context(), overlayOf("batch")); err != nil {
			t.Fatal(err)
		}
		w.overlayNow("batch")
		if got, again := w.price("batch"); got != "" || again != pause {
			t.Errorf("price %q at once, looked at again in %v, want %v", got, again, pause)
		}
		w.later(pause)
		w.expectPrice("batch", "+10%")
	}
	if got := len(w.only(EventReverted)); got != 3 {
		t.Errorf("%d Events", got)
	}
}

func TestAnOverlayThatKarpenterIgnoresIsToldOf(t *testing.T) {
	for name, c := range map[string]struct {
		status map[string]any
		want   string
	}{
		"no word of it": {want: "feature gate NodeOverlay=true"},
		"a conflict": {want: "conflict with another overlay", status: map[string]any{"conditions": []any{
			map[string]any{"type": "Ready", "status": "False", "message": "conflict with another overlay"},
		}}},
		"used": {status: map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}},
	} {
		w := newWorld(t)
		w.has(nodePool("batch", priced(), nil))
		w.price("batch")
		o := w.overlayNow("batch")
		o.Object["status"] = c.status
		known := newOverlay(o)
		known.CreationTimestamp.Time = w.clock.Now()
		if err := w.overlays.Fill(known); err != nil {
			t.Fatal(err)
		}
		w.later(heardWithin)
		w.look("batch", "batch")
		told := w.only(EventOverlayIgnored)
		if c.want == "" && len(told) > 0 || c.want != "" && (len(told) != 1 || !strings.Contains(w.told[len(w.told)-1], c.want)) {
			t.Errorf("%s: %v", name, w.told)
		}
	}
}

func TestARestoreDeletesOverlays(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(), nil), nodePool("both", priced(v1alpha1.WeightsAnnotation, "*=20"), nil))
	w.expectPrice("batch", "+10%")
	w.expectPrice("both", "+10%")
	restored, err := Restore(t.Context(), w.api, w.clock.Now())
	if err != nil || restored != 2 {
		t.Errorf("restored %d, %v", restored, err)
	}
	if w.overlayNow("batch") != nil || w.overlayNow("both") != nil {
		t.Error("an overlay is left")
	}
	w.later(time.Minute)
	// The controller has not heard of the release yet.
	w.expectPrice("batch", "")
	w.know("batch")
	w.expectPrice("batch", "")
	w.later(time.Hour)
	w.expectPrice("batch", "+10%")
	if _, ok := w.get("batch").GetAnnotations()[releasedKey]; ok {
		t.Error("the end of the release is still on the pool")
	}
}

func TestAfterAStartThePriceThatIsThereCounts(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(), nil))
	w.expectPrice("batch", "+10%")
	w.priceMemories.Clear()
	w.later(time.Minute)
	w.turnTo("DE", 500)
	if got, again := w.price("batch"); got != "+10%" || again != 29*time.Minute {
		t.Errorf("price %q, looked at again in %v", got, again)
	}
}

func FuzzParsePowers(f *testing.F) {
	for _, text := range []string{"amd64=1,arm64=0.6", "=", "a=NaN", ",", "a=1,a=1", "\x00=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		powers, err := parsePowers(text)
		if err == nil && len(powers) == 0 {
			t.Error("no power factor, and no error")
		}
		for name, power := range powers {
			if !(power >= 0.001 && power <= 1000) || name == "" {
				t.Errorf("%q has %v", name, power)
			}
		}
		if least := leastPower(powers, nil); !(least >= 0.001 && least <= 1000) {
			t.Errorf("least %v", least)
		}
	})
}
