"""Words by which people name columns, folders and files, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..words import plain


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLUMNS: dict[str, tuple[str, ...]] = {
    "path": _words(
        "path filepath file filename fname image imagepath imagefile imagefilename imagename img imgpath imgname "
        "imageid imgid imageindex id isicid name scan"
    ),
    "label": _words(
        "label labels class classes target dx diagnosis diagnose finding findings findinglabel findinglabels category "
        "classname classlabel classid labelname pathology y"
    ),
    "mask": _words(
        "mask maskpath maskfile maskname segmentation segmentationpath seg segpath annotation groundtruth gt"
    ),
    "group": _words(
        "patient patientid patientno patientnumber patientnr patientname patientkey pid subject subjectid subj subjid "
        "participant participantid person personid case caseid lesion lesionid study studyid studyinstanceuid exam "
        "examid accession accessionnumber series seriesid seriesinstanceuid volume volumeid slide slideid group groupid"
    ),
    "split": _words("split set subset partition fold phase usage datasplit dataset"),
}
"""Role -> names of columns, in the form of `plain`, best first."""

NO_FINDINGS = frozenset(
    _words("sex male female gender smoker smoking isfemale ismale istrain istest isval train test val valid split age")
)
"""Columns of 0 and 1, in the form of `plain`, that say something of a person or of a split, and no finding."""

REMARKS = frozenset(
    _words("license licence doi url link source credit reference note notes comment comments dtype format")
)
"""Columns, in the form of `plain`, that say where an image comes from, or how its file is made."""

IMAGE_FOLDERS = frozenset(_words("image images img imgs imagestr scans jpg jpgs jpeg png pngs"))
MASK_FOLDERS = frozenset(
    _words(
        "mask masks seg segs segmentation segmentations label labels labelstr labelsts gt groundtruth groundtruths "
        "annotation annotations manual truth targets"
    )
)
MASK_ENDING = re.compile(
    r"[ _.-](mask|masks|seg|segm|segmentation|label|gt|groundtruth|annotation)([ _.-]?\d+)?$", re.I
)
FIRST_CHANNEL = "_0000"
"""What nnU-Net has behind the name of an image, of the first of its channels; its mask has the bare name."""
CHANNEL = re.compile(r"_\d{4}$")
PATIENT = re.compile(
    r"^((patients?|pat|subjects?|subj|sub|cases?|participant|person|pid|study|series)[ _.-]?\d+|[ps]\d{2,}|\d{4,})$",
    re.I,
)
PATTERN = r"(?i)(?<![a-z]){}[ _-]?\d+"
P_NUMBER = r"p(?=\d\d)"  # P012, but not p1
IN_PATH = re.compile(PATTERN.format(f"(?:patient|pat|subject|subj|sub|case|participant|pid|{P_NUMBER})"))
START = re.compile(r"([^/_-]+)[_-][^/]*$")
"""What names of files begin with, which may be a patient where several names do."""
MOST_ALIKE = 20  # images of a patient, on average
PART = re.compile(r"^(.*[ _-])?(images?|imgs?|parts?|batch|chunk|archive|disc|folder|vol)[ _.-]?\d+$", re.I)

MODALITIES: dict[str, tuple[str, ...]] = {
    "chest_xray": _words("xray xrays cxr cxrs chestxray radiograph radiographs pneumonia chexpert mimic"),
    "dermoscopy": _words("dermoscopy dermoscopic dermatoscopy isic ham melanoma nevus"),
    "ct": _words("ct cect ncct hrct"),
    "mr": _words("mr mri mrt flair t1w t2w brats hippocampus"),
    "histology": _words("histology histopathology wsi pcam camelyon biopsy"),
    "fundus": _words("fundus retina retinal retinopathy aptos"),
    "ultrasound": _words("ultrasound us busi sonography echo"),
    "oct": _words("oct octa octmnist bscan bscans drusen cnv dme"),
    "mammography": _words("mammography mammogram mammograms mammo ddsm inbreast"),
    "endoscopy": _words("endoscopy endoscopic colonoscopy gastroscopy kvasir hyperkvasir polyp polyps"),
    "microscopy": _words("microscopy microscope cells smear smears malaria bloodmnist leukocytes erythrocytes"),
}


def role_of(column: str) -> str:
    """The role that the name of a column says, "" where it says none."""
    return next((role for role, names in COLUMNS.items() if plain(column) in names), "")


def modality_of(names: Iterable[str]) -> tuple[str, str]:
    """The one modality that words in the names tell, and the word; two empty texts where none does, or several do."""
    hits: dict[str, str] = {}
    for name in names:
        for word in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9]{2,})", re.sub(r"x[ _-]ray", "xray", name.lower())):
            hits |= {modality: word for modality, words in MODALITIES.items() if word in words}
    return next(iter(hits.items())) if len(hits) == 1 else ("", "")
