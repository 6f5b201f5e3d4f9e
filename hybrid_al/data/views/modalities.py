"""The random views of each modality: what they do, what they leave out and why. More of it in docs/views.md."""

from __future__ import annotations

from .policies import ViewPolicy, Views

# A comment says what each modality leaves out and why; all other strengths are common.
VIEWS: dict[str, Views] = {
    # no vertical flip and little rotation: a patient is never upside down; no horizontal flip of the heart's side
    # in the weak view either, but the mirrored chest still teaches texture in stage 0
    "chest_xray": Views(
        pretrain=ViewPolicy(crop=0.3, hflip=True, rotate=10, brightness=0.4, contrast=0.4, blur=0.3),
        weak=ViewPolicy(crop=0.85, shift=0.03, rotate=5),
        strong=ViewPolicy(crop=0.5, shift=0.05, rotate=15, brightness=0.3, contrast=0.4, blur=0.3, erase=0.4),
    ),
    # cells have no up or left; grey drop and strong colour shifts would erase the stain, which carries the class
    "microscopy": Views(
        pretrain=ViewPolicy(
            crop=0.3,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.4,
            contrast=0.4,
            saturation=0.4,
            gray=0.1,
            blur=0.3,
        ),
        weak=ViewPolicy(crop=0.85, hflip=True, vflip=True, shift=0.03),
        strong=ViewPolicy(
            crop=0.5,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.3,
            contrast=0.4,
            saturation=0.3,
            blur=0.3,
            erase=0.4,
        ),
    ),
    # a lesion may lie at any angle; its colour is diagnostic: no grey drop, small saturation changes
    "dermoscopy": Views(
        pretrain=ViewPolicy(
            crop=0.3,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
            gray=0.05,
            blur=0.2,
        ),
        weak=ViewPolicy(crop=0.85, hflip=True, vflip=True, shift=0.03),
        strong=ViewPolicy(
            crop=0.5,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.2,
            contrast=0.3,
            saturation=0.2,
            blur=0.2,
            erase=0.3,
        ),
    ),
    # grey is a measurement (Hounsfield units in a window): dose noise and the kernel's blur may change, greys may not,
    # save in strong views of masks, where a structure is known by its place too: window, contrast phase, tube voltage;
    # no flip, since the liver is on the right and the table below
    "ct": Views(
        pretrain=ViewPolicy(crop=0.3, rotate=10, blur=0.3, noise=0.04),
        weak=ViewPolicy(crop=0.85, shift=0.03, rotate=5),
        strong=ViewPolicy(crop=0.5, shift=0.03, rotate=15, blur=0.3, noise=0.05, erase=0.4),
        strong_pixels=ViewPolicy(brightness=0.2, blur=0.3, noise=0.05, gamma=0.3),
    ),
    # grey has no unit and the coil's sensitivity lies over it: gain, gamma and bias field, but nothing that lifts the
    # air from black; mirrored only where no class is asked for, as a lesion has a side
    "mr": Views(
        pretrain=ViewPolicy(
            crop=0.3, hflip=True, rotate=15, brightness=0.15, blur=0.3, noise=0.03, gamma=0.3, bias=0.3
        ),
        weak=ViewPolicy(crop=0.85, shift=0.03, rotate=5),
        strong=ViewPolicy(
            crop=0.5, shift=0.03, rotate=15, brightness=0.15, blur=0.3, noise=0.03, erase=0.4, gamma=0.3, bias=0.3
        ),
    ),
    # a section has no up and no left; laboratories differ in the amount of each dye, not in hue as such; gentler crops,
    # since the size of nuclei is diagnostic
    "histology": Views(
        pretrain=ViewPolicy(crop=0.4, hflip=True, vflip=True, rotate=180, brightness=0.1, blur=0.3, stain=0.2),
        weak=ViewPolicy(crop=0.85, hflip=True, vflip=True, shift=0.03, stain=0.05),
        strong=ViewPolicy(crop=0.5, hflip=True, vflip=True, rotate=180, brightness=0.1, blur=0.3, erase=0.4, stain=0.2),
    ),
    # a mirrored right eye is a left eye, an upside-down one is none; little blur and no noise, for microaneurysms are
    # a few pixels; the rim outside of the round field stays black
    "fundus": Views(
        pretrain=ViewPolicy(
            crop=0.4, hflip=True, rotate=15, brightness=0.15, saturation=0.2, blur=0.1, gamma=0.2, bias=0.2
        ),
        weak=ViewPolicy(crop=0.85, hflip=True, rotate=5),
        strong=ViewPolicy(
            crop=0.5,
            hflip=True,
            rotate=15,
            brightness=0.15,
            saturation=0.2,
            blur=0.1,
            erase=0.3,
            gamma=0.2,
            bias=0.2,
        ),
    ),
    # the beam comes from above and fades with depth, shadows fall along it: no vertical flip, little rotation; gain,
    # depth gain, dynamic range and speckle are the machine's; outside of the sector stays black
    "ultrasound": Views(
        pretrain=ViewPolicy(
            crop=0.4, hflip=True, rotate=10, brightness=0.2, blur=0.2, gamma=0.3, bias=0.3, speckle=0.15
        ),
        weak=ViewPolicy(crop=0.85, rotate=5),
        strong=ViewPolicy(crop=0.5, rotate=10, brightness=0.2, blur=0.2, erase=0.4, gamma=0.3, bias=0.3, speckle=0.15),
    ),
    # layers run from side to side and light comes from above, with shadows below vessels: no vertical flip, little
    # rotation; a mirrored right eye is a left eye; speckle and signal strength are the machine's
    "oct": Views(
        pretrain=ViewPolicy(
            crop=0.4, hflip=True, rotate=10, brightness=0.2, blur=0.2, gamma=0.2, bias=0.2, speckle=0.15
        ),
        weak=ViewPolicy(crop=0.85, hflip=True, rotate=5),
        strong=ViewPolicy(
            crop=0.5,
            hflip=True,
            rotate=10,
            brightness=0.2,
            blur=0.2,
            erase=0.3,
            gamma=0.2,
            bias=0.2,
            speckle=0.15,
        ),
    ),
    # a mirrored left breast is a right one; the muscle of an oblique view is above; gentle crops, hardly any blur, as
    # calcifications are a few pixels; air stays black
    "mammography": Views(
        pretrain=ViewPolicy(crop=0.5, hflip=True, rotate=10, brightness=0.15, blur=0.1, noise=0.02, gamma=0.3),
        weak=ViewPolicy(crop=0.85, shift=0.03, hflip=True, rotate=5),
        strong=ViewPolicy(
            crop=0.6,
            shift=0.03,
            hflip=True,
            rotate=10,
            brightness=0.15,
            blur=0.1,
            noise=0.02,
            erase=0.3,
            gamma=0.3,
        ),
    ),
    # the scope turns about its axis; lamp and distance change light across the image; redness is a finding: no grey
    # drop, small changes of saturation
    "endoscopy": Views(
        pretrain=ViewPolicy(
            crop=0.4,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.2,
            saturation=0.2,
            blur=0.3,
            gamma=0.2,
            bias=0.3,
        ),
        weak=ViewPolicy(crop=0.85, hflip=True, vflip=True),
        strong=ViewPolicy(
            crop=0.5,
            hflip=True,
            vflip=True,
            rotate=180,
            brightness=0.2,
            saturation=0.2,
            blur=0.3,
            erase=0.3,
            gamma=0.2,
            bias=0.3,
        ),
    ),
    # nothing is known: what hardly any image would not allow
    "generic": Views(
        pretrain=ViewPolicy(crop=0.5, rotate=5, brightness=0.1, contrast=0.1, blur=0.2),
        weak=ViewPolicy(crop=0.85, shift=0.03),
        strong=ViewPolicy(crop=0.6, shift=0.03, rotate=5, brightness=0.1, contrast=0.1, blur=0.2, erase=0.3),
        strong_pixels=ViewPolicy(brightness=0.25, contrast=0.25, blur=0.3),
    ),
}
