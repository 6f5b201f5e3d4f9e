"""DICOM SR by highdicom: what people said of a DICOM image, as a measurement report (TID 1500) with findings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from ...errors import reading
from ..base import NONE
from .base import Instance

SCHEME, MOST_CODE, MOST_MEANING = "99HYBRIDAL", 16, 64
"""Of the codes of classes, which are those of a run; a code and its meaning have so many letters at most."""


def write_sr(instance: Instance, findings: Sequence[str], observer: str, time: str | None, file: Path) -> None:
    """Write what people said of an image; InputError where a report cannot take over what its file says.

    findings  names of classes, in the order of the run; none: nothing was found
    observer  who said it
    time      UTC, of the last answer; None where it is not known
    """
    import highdicom as hd
    import pydicom
    from pydicom.sr.codedict import codes

    with reading(instance.file, "what an SR takes over of its image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would say the names of patients
        source = pydicom.dcmread(instance.file)
        frames = [instance.frame + 1] if int(source.get("NumberOfFrames", 1)) > 1 else None
        image = hd.sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID, frames)
        names = [hd.sr.CodedConcept(name[:MOST_CODE], SCHEME, name[:MOST_MEANING]) for name in findings or [NONE]]
        group = hd.sr.MeasurementsAndQualitativeEvaluations(
            hd.sr.TrackingIdentifier(hd.UID(), "label of hybrid-al"),
            qualitative_evaluations=[hd.sr.QualitativeEvaluation(codes.DCM.Finding, name) for name in names],
            source_images=[image],
        )
        person = hd.sr.PersonObserverIdentifyingAttributes(observer[:MOST_MEANING])
        content = hd.sr.MeasurementReport(
            hd.sr.ObservationContext(hd.sr.ObserverContext(codes.DCM.Person, person)),
            procedure_reported=hd.sr.CodedConcept("label", SCHEME, "labeling of an image"),
            imaging_measurements=[group],
        )
        report = hd.sr.Comprehensive3DSR(
            [source],
            content[0],
            series_instance_uid=hd.UID(),
            series_number=9500,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="hybrid-al",
            is_complete=True,
        )
        report.ManufacturerModelName, report.SoftwareVersions = "hybrid-al", version("hybrid-al")
        if time is not None:
            when = datetime.fromisoformat(time)
            report.ContentDate, report.ContentTime = f"{when:%Y%m%d}", f"{when:%H%M%S}"
        file.parent.mkdir(exist_ok=True)
        report.save_as(file)
