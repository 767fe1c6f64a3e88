"""The words of the breast ultrasound page; every number in them is taken from the tables or from the network's card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from busi_results_page import (
    OTHER,
    READINGS,
    UNTRAINED,
    Estimate,
    Table,
    difference,
    mean,
    of,
    on_and_beside,
)

from saliscope.model.card import find

if TYPE_CHECKING:
    from busi_erasing import ErasedRow
    from busi_pictures import MarkRow
    from make_busi_results import MapRow

OPENING = """\
# First results on real pictures: breast ultrasound

Written by `docs/make_busi_results.py` from its tables: [the maps](first-results-breast.csv), \
[the marks found](first-results-breast-marks.csv) and [what was erased](first-results-breast-erased.csv). For \
research; none of this says that a map may be believed, or anything about a patient.
"""

CLOSING = """\
A measurement's number and cross were once taken for text, and tissue was taken for part of the calipers in two of the \
seven pictures that have them. The finder misses calipers without a dotted line and pale corner marks. \
"Text" includes the numbers beside calipers and, here and there, some bright tissue beside a letter.

## Limits

- One small network, one data set of one hospital. Another training run, let alone another network, may use other \
things.
- The network was guided by lesion outlines in training (a second head, not shipped), so that its last spatial layer \
is pulled towards the lesion. Maps of networks without such guidance may lie elsewhere.
- The last spatial layer has 10 x 10 cells: a cell is larger than a letter, and a CAM cannot tell a mark from what \
surrounds it.
- The outline is where the lesion is, not what the network uses. Shadow behind a lesion and its rim are signs too, and \
lie outside; a map there is not wrong. These numbers are plausibility, and only erasing asks the network.
- Methods stand with their default settings; integrated gradients start from the darkest value. No method was tuned; \
another setting is another map.
- AUROC and average precision take the signed values as they are. Where the sign of a gradient says whether brighter \
or darker would help, "AUROC of the size" is the fairer reading; mass and density take the positive part only.
- What is erased is filled smoothly, without speckle. A smooth patch is unlike any picture of the training part; the \
equal shapes elsewhere show what that alone does, but in place of a large lesion it still looks like a pale mass. A \
large lesion has no equally large place elsewhere, and is left out of the difference. Calipers that cross a lesion are \
erased with it.
- Letters were put in without a trial of other bright strokes: it may be their brightness that counts, not the writing.
- Outlines are as the data set has them: in `malignant-157` a small lesion is outlined beside a larger one that is not.
- Few pictures carry calipers: the rows on them rest on small n, and those of fewer than five pictures are not shown.
- Near-duplicates stand in for patients, who are not identified. Intervals (95 %) come from drawing whole groups of \
them; nothing is corrected for the number of comparisons, and one interval in twenty is expected to leave zero out by \
chance.
"""


def measured(table: Table, erased: Sequence[ErasedRow]) -> str:
    """Return what was measured, on how many pictures."""
    from make_busi_results import LEFT_OUT, SLOW

    card = find("breast-ultrasound").performance
    fast, slow = table.of("grad-cam"), table.of("rise")
    untrained = len(table.of("grad-cam", UNTRAINED))
    untrained_slow = len(table.of("rise", UNTRAINED))
    marked = sum(r.text == r.text or r.calipers == r.calipers for r in fast)
    left = "; ".join(f"`{name}` ({why})" for name, why in LEFT_OUT.items())
    same = "; ".join(", ".join(f"`{m}`" for m in group) for group in table.alike() if len(group) > 1)
    test = len({r.picture for r in erased if r.what == "lesion"})
    return f"""\
The network is `breast-ultrasound` of the zoo (normal, benign, malignant; held-out AUC of "malignant" \
{card["auc_malignant"]["value"]:.2f}). Explained is the logit of the picture's own label: "malignant" on malignant \
pictures, "benign" on benign ones, whether the network is right or not. All pictures are of the held-out part: \
{len(fast)} for most methods (half malignant; text or calipers were found in {marked}, which was sought: up to half \
of either kind were drawn from those), {len(slow)} of them for the slow ones ({", ".join(f"`{n}`" for n in SLOW)}), \
and all {test} with a lesion for erasing.

- **Maximum on it**: the part of the map's maxima that lies on the outlined lesion (ties share).
- **Mass on it**: the share of the map's positive part on the lesion. **Density**: this over the lesion's share of the \
area; 1 is what an even map has.
- **AUROC**, **average precision**: how well the map's values tell elements of the lesion from others, picture by \
picture, then averaged; **AUROC of the size** takes the size of each value, whatever its sign.
- **Mean mask**: the mean of all lesion outlines that the network was trained with, the same map for every picture. \
It knows where lesions lie in such pictures, and nothing else.
- **Another's map**: the same method's map of the next picture of the same label, laid over this one.
- **Untrained**: the same architecture with fresh weights ({untrained} pictures, {untrained_slow} for slow methods).
- **Marks**: density on text, calipers and the scanner's corner mark, and that of the same shapes 8 to 24 elements off.
- **Erasing**: lesion or marks are filled smoothly from what surrounds them; the logit of the picture's own label \
before and after. For comparison the same shape is erased in up to four other places: for a lesion anywhere off it, \
for marks 8 to 24 elements off. "Text pasted" puts letters of other held-out pictures into those without text.

Not shown: {left}. Some methods come to the same here, by their defaults or because the network ends in a mean over \
its last spatial layer and one linear layer: {same}.
"""


def learnt(table: Table, marks: Sequence[MarkRow], erased: Sequence[ErasedRow]) -> str:
    """Return what is learnt, numbers taken from the rows."""
    return "\n".join([where(table), shortcut(marks, erased), on_text(table)])


def where(table: Table) -> str:
    """Return what the maps' place says."""
    known = [group[0] for group in table.alike()]
    full = max(len(table.of(m)) for m in known)
    auroc, hits = (
        {m: of(table.of(m), v) for m in known if len(table.of(m)) == full} for v in (lambda r: r.auroc, lambda r: r.hit)
    )
    best, surest = (max(found, key=lambda m: found[m].value) for found in (auroc, hits))
    mean_mask = table.of("mean-mask")

    def tally(rows_of: dict[str, list[MapRow]], value: Callable[[MapRow], float]) -> str:
        sign = {m: table.gain(m, rows_of[m], value).sure for m in known}
        better = [m for m in known if sign[m] > 0]
        named = f" ({', '.join(map(table.shown, better))})" if 0 < len(better) < 5 else ""
        return f"{len(better)} are surely better{named} and {list(sign.values()).count(-1)} surely worse"

    guess = dict.fromkeys(known, mean_mask)
    other, fresh = ({m: table.of(m, network) for m in known} for network in (OTHER, UNTRAINED))
    return f"""\
**A map that knows no picture is hard to beat.** The mean lesion outline has an AUROC of \
{of(mean_mask, lambda r: r.auroc)}, the best method ({table.shown(best)}) {auroc[best]}. Of {len(known)} methods with \
different maps {tally(guess, lambda r: r.auroc)} than the mean outline ("surely": the interval of the difference \
leaves out zero). By the size of values, whatever their sign, {tally(guess, lambda r: r.auroc_size)}; by average \
precision {tally(guess, lambda r: r.ap)}; by their maximum {tally(guess, lambda r: r.hit)}: that of the mean outline \
is on the lesion in {of(mean_mask, lambda r: r.hit)} of the pictures, that of Grad-CAM in \
{of(table.of("grad-cam"), lambda r: r.hit)}, that of the best method ({table.shown(surest)}) in {hits[surest]}. \
Against the same method's map of another patient {tally(other, lambda r: r.auroc)} in AUROC, against that of the \
untrained network {tally(fresh, lambda r: r.auroc)}. A hit rate without these comparisons says little.
"""


def shortcut(marks: Sequence[MarkRow], erased: Sequence[ErasedRow]) -> str:
    """Return what erasing and pasting say."""
    carry = {label: share(marks, label, "text") for label in ("benign", "malignant", "normal")}
    lesion, text, calipers = (difference(erased, what, "benign") for what in ("lesion", "text", "calipers"))
    put = {label: changed(erased, "text pasted", label) for label in ("benign", "malignant")}
    corner = changed(erased, "corner", "benign")
    if text.sure < 0 < put["benign"][0].sure:
        said = 'So the network takes letters, a little, for a sign of "benign", as the data set offers it'
    else:
        said = "Both together do not show a use of letters, although the data set offers one"
    return f"""\
**The marks are a small shortcut, and the lesion is most of it.** Text was found in {carry["benign"]} of the benign \
pictures, {carry["malignant"]} of the malignant and {carry["normal"]} of the normal ones. Erasing the lesion changes \
the logit of "benign" on benign pictures by {lesion} more than erasing its shape elsewhere (n = {lesion.n}); erasing \
text by {text} more than beside it (n = {text.n}); calipers by {calipers} (n = {calipers.n}); erasing the corner mark \
changes it by {corner[0]} (n = {corner[0].n}). Letters put into benign pictures that have none change it by \
{put["benign"][0]} (n = {put["benign"][0].n}), and the probability of "malignant" on malignant ones by \
{put["malignant"][1]} (n = {put["malignant"][1].n}). {said}. The finder overlooks marks \
({READINGS["calipers"].there - READINGS["calipers"].whole} of {READINGS["calipers"].there} pictures with calipers were \
found in part or not at all), so the effects of marks are rather too small than too large here.
"""


def on_text(table: Table) -> str:
    """Return what the maps say of text."""
    cam, beside_cam = on_and_beside(table.of("grad-cam"), "text")
    lrp, beside_lrp = on_and_beside(table.of("lrp"), "text")
    edges, beside_edges = on_and_beside(table.of("edges"), "text")
    return f"""\
**Maps do not settle it.** On text Grad-CAM has a density of {cam} and beside it {beside_cam}: its cells are larger \
than letters, so that it cannot tell the two apart. LRP has {lrp} on text and {beside_lrp} beside it; but strokes \
stand out in any map that follows edges, and the edge filter, which knows no network, has {edges} and \
{beside_edges}. What the text is worth to the network only erasing and putting in can say.
"""


def share(marks: Sequence[MarkRow], label: str, kind: str) -> str:
    """Return the share of the pictures of a label in which a kind of mark was found, in per cent."""
    own = [r for r in marks if r.label == label]
    return f"{100 * mean([float(getattr(r, kind) > 0) for r in own], [r.group for r in own]).value:.0f} %"


def changed(erased: Sequence[ErasedRow], what: str, label: str) -> tuple[Estimate, Estimate]:
    """Return the mean change of the logit of the pictures' own label and of the probability of "malignant"."""
    own = [r for r in erased if (r.what, r.label, r.elsewhere) == (what, label, 0)]
    group = [r.group for r in own]
    return mean([r.logit for r in own], group), mean([r.malignant for r in own], group)
