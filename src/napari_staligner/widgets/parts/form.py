"""Controls that show and set fields of the session's settings, and what lays controls out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QSpinBox,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from napari_staligner.session import Session


class DecimalBox(QDoubleSpinBox):
    """A box for a number, shown without trailing zeros."""

    def textFromValue(self, value: float) -> str:
        """Return ``50`` for 50.0000."""
        return self.locale().toString(value, "g", 12)


class SettingsForm(QObject):
    """Binds controls to fields of ``session.view.settings``.

    Parameters
    ----------
    session
        Whose settings they are.
    complain
        Called with the sentence when a value is refused.
    parent
        Owner.
    """

    def __init__(
        self, session: Session, complain: Callable[[str], object], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._complain = complain
        self._shows: dict[str, tuple[QWidget, Callable[[Any], None]]] = {}

    def whole(self, field: str, low: int, high: int, tip: str, step: int = 1) -> QSpinBox:
        """Make a box for a whole number."""
        box = QSpinBox()
        box.setRange(low, high)
        box.setSingleStep(step)
        box.setGroupSeparatorShown(True)
        return self._number(field, box, tip)

    def decimal(
        self, field: str, low: float, high: float, tip: str, *, step: float, decimals: int
    ) -> DecimalBox:
        """Make a box for a number with decimals."""
        box = DecimalBox()
        box.setDecimals(decimals)
        box.setRange(low, high)
        box.setSingleStep(step)
        return self._number(field, box, tip)

    def choice(self, field: str, choices: dict[str, Any], tip: str) -> QComboBox:
        """Make a box with choices, ``{title: value}``; see :meth:`set_choices`."""
        box = narrow(QComboBox())
        box.setToolTip(tip)
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.installEventFilter(self)
        box.activated.connect(lambda index: self.set(**{field: box.itemData(index)}))
        self._shows[field] = box, lambda value: box.setCurrentIndex(box.findData(value))
        self.set_choices(field, choices)
        return box

    def set_choices(self, field: str, choices: dict[str, Any]) -> None:
        """Offer other choices."""
        box, show = self._shows[field]
        if isinstance(box, QComboBox):
            box.clear()
            for title, value in choices.items():
                box.addItem(title, value)
            show(getattr(self._session.view.settings, field))

    def set(self, **changes: Any) -> None:
        """Set fields; what is refused is said, and the old value shown again."""
        try:
            self._session.view.settings = replace(self._session.view.settings, **changes)
        except InputError as error:
            self.show_set()
            self._complain(str(error))

    def show_set(self) -> None:
        """Show what the settings say."""
        for field, (widget, show) in self._shows.items():
            value = getattr(self._session.view.settings, field)
            if value is None and not isinstance(widget, QComboBox):
                continue
            with signals_blocked(widget):
                show(value)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the scroll area unless the box has the focus."""
        wheel = event.type() == QEvent.Type.Wheel
        if wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False

    def _number(self, field: str, box: Any, tip: str) -> Any:
        box.setToolTip(tip)
        box.setKeyboardTracking(False)
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.installEventFilter(self)
        box.valueChanged.connect(lambda value: self.set(**{field: value}))
        self._shows[field] = box, box.setValue
        return box


def narrow(box: QComboBox) -> QComboBox:
    """Let a box be narrower than its longest choice, and return it."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def form(parent: QWidget | None = None) -> QFormLayout:
    """Make a form layout for a narrow dock."""
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return layout


def row(*widgets: QWidget | None) -> QWidget:
    """Put widgets in a row; ``None`` takes the room that is left."""
    box = QWidget()
    layout = QHBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        if widget is None:
            layout.addStretch(1)
        else:
            layout.addWidget(widget)
    return box


class FittingScroll(QScrollArea):
    """A scroll area as high as what it holds, and lower only where there is no room.

    Parameters
    ----------
    content
        What it holds.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setMinimumHeight(min(120, content.sizeHint().height()))

    def sizeHint(self) -> QSize:
        """Return the size of the content."""
        return self.widget().sizeHint()

    def minimumSizeHint(self) -> QSize:
        """Return a width that needs no scrolling sideways."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self.widget().minimumSizeHint().width() + bar, self.minimumHeight())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the content when a part of it is opened or closed."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))
