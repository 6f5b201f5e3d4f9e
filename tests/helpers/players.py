"""How each tool answers: files that were written are filled in by code that knows the tool and not the writer."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel
import nrrd
import numpy as np
import pydicom
from PIL import Image

from hybrid_al.data.answers import file_name
from tests.helpers.exchange import Truth
from tests.helpers.tiny import SIZE


def by_table(folder: Path, said: list[Truth], kind: str) -> Path:
    file, by_id = folder / "labels.csv", {truth.id: truth for truth in said}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    if kind == "box":
        columns = ["image", "class", "left", "top", "right", "bottom"]
        rows = [
            dict(zip(columns, map(str, (file_name(t.index), t.classes[c], x0, y0, x1, y1)), strict=True))
            for t in said
            for c, y0, x0, y1, x1 in t.boxes.tolist()
        ]
    else:
        columns = list(rows[0])
        rows = [{**row, "label": ";".join(by_id[row["id"]].words) or "none"} for row in rows]
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(rows)
    return file


def by_folder(folder: Path, said: list[Truth], kind: str) -> Path:
    (folder / "masks").mkdir()
    for truth in said:
        with Image.open(folder / "images" / file_name(truth.index)) as image:
            assert image.size == (SIZE, SIZE)
        Image.fromarray(truth.labels).save(folder / "masks" / file_name(truth.index))
    return folder / "masks"


def by_label_studio(folder: Path, said: list[Truth], kind: str) -> Path:
    """Boxes, brush and key points in the words of its guide; every second mask as rows of pixels by polygon."""
    page = ElementTree.fromstring((folder / "config.xml").read_text(encoding="utf-8"))
    tags = {tag.get("name"): tag for tag in page.iter() if tag.get("name")}
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    by_name = {truth.name: truth for truth in said}
    size = {"original_width": SIZE, "original_height": SIZE, "image_rotation": 0}
    for number, task in enumerate(tasks):
        truth, results = by_name[task["data"]["name"]], list[dict[str, Any]]()

        def add(name: str, kind: str, value: dict[str, Any], results: list[dict[str, Any]] = results) -> None:
            options = {child.get("value") for child in tags[name]}
            assert set(value[kind]) <= options and tags[name].get("toName") == "image"
            results.append(
                {**size, "id": str(len(results)), "from_name": name, "to_name": "image", "type": kind, "value": value}
            )

        if kind in ("class", "classes"):
            add("label", "choices", {"choices": list(truth.words) or ["none"]})
        elif kind == "box":
            for c, top, left, bottom, right in truth.boxes.tolist():
                per = 100 / SIZE
                value = {"x": left * per, "y": top * per, "width": (right - left) * per, "height": (bottom - top) * per}
                add("rectangle", "rectanglelabels", {**value, "rotation": 0, "rectanglelabels": [truth.classes[c]]})
        elif kind == "point":
            for name, mask in truth.areas(kind):
                for y, x in np.argwhere(mask).tolist():
                    value = {"x": (x + 0.5) * 100 / SIZE, "y": (y + 0.5) * 100 / SIZE, "width": 0.3}
                    add("keypoint", "keypointlabels", {**value, "keypointlabels": [name]})
        else:
            for name, mask in truth.areas(kind):
                if number % 2 and kind == "mask":
                    for y, x0, x1 in rows_of(mask):
                        points = [
                            [x * 100 / SIZE, v * 100 / SIZE] for x, v in ((x0, y), (x1, y), (x1, y + 1), (x0, y + 1))
                        ]
                        add("polygon", "polygonlabels", {"points": points, "polygonlabels": [name]})
                    continue
                value = {"format": "rle", "rle": slow_brush(mask), "brushlabels": [name]}
                add("brush", "brushlabels", value)
        task["id"] = number + 7
        task["annotations"] = [{"id": 1, "completed_by": 1, "was_cancelled": False, "result": results}]
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    return folder / "export.json"


def slow_brush(mask: Any) -> list[int]:
    """All values one by one, as the front end may write them: 32, 5 and 4 times 4 bits, then runs of literal values."""
    values = np.repeat(255 * mask.astype(int).ravel(), 4).tolist()
    bits = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    for start in range(0, len(values), 256):
        part = values[start : start + 256]
        bits += "0" + "10" + f"{len(part) - 1:08b}" + "".join(f"{v:08b}" for v in part)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def rows_of(mask: Any) -> list[tuple[int, int, int]]:
    """(row, first column, column beyond) of each run of pixels in a row."""
    out = []
    for y, row in enumerate(mask.tolist()):
        x = 0
        while x < len(row):
            if row[x]:
                begin = x
                while x < len(row) and row[x]:
                    x += 1
                out.append((y, begin, x))
            x += 1
    return out


def by_coco(folder: Path, said: list[Truth], kind: str) -> Path:
    """Masks by turns as polygons and as runs, packed or not."""
    value = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
    ids = {image["file_name"]: image["id"] for image in value["images"]}
    categories = {c["name"]: c["id"] for c in value["categories"]}
    value["annotations"] = []
    for number, truth in enumerate(said):
        base = {"image_id": ids[f"{truth.name}.png"]}
        shapes: list[tuple[str, list[int], object]]
        if kind == "box":
            shapes = [(truth.classes[c], [x0, y0, x1 - x0, y1 - y0], []) for c, y0, x0, y1, x1 in truth.boxes.tolist()]
        else:
            shapes = [(name, [0, 0, SIZE, SIZE], coco_mask(mask, number % 3)) for name, mask in truth.areas(kind)]
        for name, box, segmentation in shapes or [("none", [0, 0, 1, 1], [])]:
            one = {"id": len(value["annotations"]), "category_id": categories[name], "bbox": box}
            value["annotations"].append({**base, **one, "segmentation": segmentation, "iscrowd": 0})
    with zipfile.ZipFile(folder / "export.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(value))
    return folder / "export.zip"


def coco_mask(mask: Any, how: int) -> object:
    if how == 0:
        return [[x0, y, x1, y, x1, y + 1, x0, y + 1] for y, x0, x1 in rows_of(mask)]
    counts = flat_runs(mask.T)
    return {"size": list(mask.shape), "counts": counts if how == 1 else slow_packed(counts)}


def slow_packed(counts: list[int]) -> str:
    """As maskApi.c writes it."""
    text = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            text += chr((c | 0x20 if more else c) + 48)
    return text


def by_cvat(folder: Path, said: list[Truth], kind: str) -> Path:
    root = ElementTree.fromstring((folder / "annotations.xml").read_text(encoding="utf-8"))
    labels = {label["name"] for label in json.loads((folder / "labels.json").read_text(encoding="utf-8"))}
    by_name = {f"{truth.name}.png": truth for truth in said}
    for number, image in enumerate(root.iter("image")):
        truth = by_name[str(image.get("name"))]
        for child in list(image):
            image.remove(child)

        def add(tag: str, label: str, image: ElementTree.Element = image, **values: object) -> None:
            assert label in labels
            ElementTree.SubElement(
                image, tag, {"label": label, "source": "manual", **{k: str(v) for k, v in values.items()}}
            )

        if kind in ("class", "classes"):
            for word in truth.words or ("none",):
                add("tag", word)
        elif kind == "box":
            for c, y0, x0, y1, x1 in truth.boxes.tolist():
                add("box", truth.classes[c], xtl=x0, ytl=y0, xbr=x1, ybr=y1, occluded=0, z_order=0)
        elif kind == "point":
            for name, mask in truth.areas(kind):
                points = ";".join(f"{x + 0.5:.2f},{y + 0.5:.2f}" for y, x in np.argwhere(mask).tolist())
                add("points", name, points=points, z_order=0)
        else:
            cvat_masks(truth.areas(kind), number % 2 == 0, add)
    (folder / "export.xml").write_text(ElementTree.tostring(root, encoding="unicode"), encoding="utf-8")
    return folder / "export.xml"


def cvat_masks(areas: list[tuple[str, Any]], cropped: bool, add: Callable[..., None]) -> None:
    """Rows of pixels as polygons, all of them or those above a cropped mask."""
    for name, mask in areas:
        if cropped:
            rle = ", ".join(map(str, flat_runs(mask[2:])))
            add("mask", name, rle=rle, left=0, top=2, width=SIZE, height=SIZE - 2, z_order=0)
        for y, x0, x1 in rows_of(mask[:2] if cropped else mask):
            add("polygon", name, points=f"{x0},{y};{x1},{y};{x1},{y + 1};{x0},{y + 1}", z_order=0)


def flat_runs(mask: Any) -> list[int]:
    counts, last = [0], False
    for pixel in mask.ravel().tolist():
        if pixel != last:
            counts.append(0)
            last = pixel
        counts[-1] += 1
    return counts


def by_qupath(folder: Path, said: list[Truth], kind: str) -> Path:
    (folder / "back").mkdir()
    names = (folder / "classes.txt").read_text(encoding="utf-8").split("\n")
    for truth in said:
        features: list[dict[str, Any]] = []
        if kind == "box":
            shapes = [
                (truth.classes[c], [[[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]])
                for c, y0, x0, y1, x1 in truth.boxes.tolist()
            ]
        else:
            shapes = [
                (name, [[[[a, y], [b, y], [b, y + 1], [a, y + 1], [a, y]]] for y, a, b in rows_of(mask)])
                for name, mask in truth.areas(kind)
            ]
        for name, polygons in shapes or [("none", [[[[0, 0], [1, 0], [1, 1]]]])]:
            assert name in names
            geometry = {"type": "MultiPolygon", "coordinates": polygons}
            properties = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}}
            features.append({"type": "Feature", "id": "x", "geometry": geometry, "properties": properties})
        file = folder / "back" / f"{truth.name}.png.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return folder / "back"


def by_itk_snap(folder: Path, said: list[Truth], kind: str) -> Path:
    """Every second file is saved with its axes turned round."""
    (folder / "back").mkdir()
    lines = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    value_of = {line.split('"')[1]: int(line.split()[0]) for line in lines if not line.startswith("#")}
    for number, truth in enumerate(said):
        (image,) = map(nibabel.load, (folder / "images").glob(f"{truth.name}*"))
        assert image.shape == (SIZE, SIZE, 1)
        values = np.zeros(image.shape, dtype=np.int16)
        for name, mask in truth.areas(kind):
            values[mask.T] = value_of[name]
        affine = image.affine.copy()
        if number % 2:
            values, affine = values[::-1], affine @ np.asarray([[-1, 0, 0, SIZE - 1], *np.eye(4)[1:].tolist()])
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / "back" / f"{truth.name}_label.nii.gz")
    return folder / "back"


def by_slicer(folder: Path, said: list[Truth], kind: str) -> Path:
    """Cropped to what is drawn, the values of segments in another order, a segment a layer."""
    (folder / "back").mkdir()
    for truth in said:
        start, header = nrrd.read(str(folder / "start" / f"{truth.name}.seg.nrrd"))
        assert start.shape == (SIZE, SIZE, 1) and header["Segment0_Name"] == truth.classes[1]
        areas = truth.areas(kind) or [(truth.classes[1], np.zeros((SIZE, SIZE), dtype=bool))]
        drawn = np.argwhere(np.logical_or.reduce([mask for _, mask in areas]))
        top, left = drawn.min(axis=0) if len(drawn) else (0, 0)
        layers = np.stack([(9 - k) * mask.T[left:, top:, None] for k, (_, mask) in enumerate(areas)]).astype(np.uint8)
        fields: dict[str, Any] = {
            "space": "left-posterior-superior",
            "kinds": ["list", "domain", "domain", "domain"],
            "space directions": np.asarray([[np.nan] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "space origin": np.asarray([left, top, 0]),
        }
        for k, (name, _) in enumerate(areas):
            fields |= {f"Segment{k}_Name": name, f"Segment{k}_LabelValue": str(9 - k), f"Segment{k}_Layer": str(k)}
        nrrd.write(str(folder / "back" / f"Segmentation {truth.name}.seg.nrrd"), layers, fields)
    return folder / "back"


def by_ohif(folder: Path, said: list[Truth], kind: str) -> Path:
    """A SEG a series, as a viewer saves it: on all of its images that were loaded, a frame a segment and image."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    by_series: dict[str, list[tuple[Any, Truth]]] = {}
    for truth in said:
        image = pydicom.dcmread(folder / "images" / f"{truth.name}.dcm")
        by_series.setdefault(image.SeriesInstanceUID, []).append((image, truth))
    (folder / "back").mkdir()
    names = (folder / "classes.txt").read_text(encoding="utf-8").split()
    labels = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    segments = [
        hd.seg.SegmentDescription(k, name, codes.SCT.Organ, codes.SCT.Liver, labels) for k, name in enumerate(names, 1)
    ]
    for number, pairs in enumerate(by_series.values()):
        maps = [
            [dict(t.areas(kind)).get(name, np.zeros_like(t.labels, dtype=bool)) for name in names] for _, t in pairs
        ]
        seg = hd.seg.Segmentation(
            [image for image, _ in pairs], np.moveaxis(np.asarray(maps), 1, 3).astype(np.uint8), "BINARY", segments,
            series_instance_uid=hd.UID(), series_number=1, sop_instance_uid=hd.UID(), instance_number=1,
            device_serial_number="1", manufacturer="x", manufacturer_model_name="x", software_versions="1",
        )  # fmt: skip
        seg.save_as(folder / "back" / f"{number}.dcm")
    return folder / "back"


PLAYERS: Mapping[str, Callable[[Path, list[Truth], str], Path]] = {
    "csv": by_table,
    "folder": by_folder,
    "label_studio": by_label_studio,
    "coco": by_coco,
    "cvat": by_cvat,
    "geojson": by_qupath,
    "nifti": by_itk_snap,
    "seg_nrrd": by_slicer,
    "dicom_seg": by_ohif,
}


def accept(name: str, folder: Path) -> Path:
    """What a person hands in who changes nothing."""
    if name == "label_studio":
        tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
        for task in tasks:
            assert 0 < task["predictions"][0]["score"] <= 1
            task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
        (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
        return folder / "export.json"
    if name in ("nifti", "seg_nrrd", "dicom_seg"):
        return folder / "start"
    return folder / {"coco": "instances.json", "cvat": "annotations.xml", "geojson": "proposals"}[name]
