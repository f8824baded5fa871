"""Controls that show and set fields of the session's settings, and layout helpers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from magicgui.application import use_app
from magicgui.types import Undefined
from magicgui.widgets import create_widget
from magicgui.widgets.bases import CategoricalWidget, RangedWidget
from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

from napari_staligner._errors import InputError
from napari_staligner.core.fields import Described, described

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    from napari_staligner.session import Session

# Upper limit of a number box whose field has none, and its largest number of decimals.
_MOST, _MOST_DECIMALS = 10**9, 12


class DecimalBox(QDoubleSpinBox):
    """A box for a number, shown without trailing zeros."""

    def textFromValue(self, value: float) -> str:
        """Return ``50`` for 50.0000, and whole numbers as Qt writes them."""
        if self.decimals() == 0:
            return str(super().textFromValue(value))
        return self.locale().toString(value, "g", 12)


class SettingsForm(QObject):
    """Makes controls for fields of ``session.view.settings``, and binds them.

    magicgui makes a control from the type, bounds, titles and tip of its field; see
    :mod:`napari_staligner.core.fields`.

    Parameters
    ----------
    session
        Whose settings they are.
    parent
        Owner.
    """

    said = Signal(str, bool)
    """A sentence, and whether it tells of a problem: why a value is refused."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._made: dict[str, ValueWidget[Any]] = {}
        self._titles: dict[str, Mapping[Any, str]] = {}

    @property
    def fields(self) -> Mapping[str, Described]:
        """Fields of the settings that have a control, by name."""
        known = described(type(self._session.view.settings))
        return {name: each for name, each in known.items() if not each.setting.no_control}

    def control(self, name: str) -> QWidget:
        """Make the control of a field; see :meth:`set_titles` for one with choices."""
        field = self.fields[name]
        self._titles[name] = field.setting.titles or {value: value for value in field.allowed}
        made = self._choice(name) if self._titles[name] else _plain_control(field)
        self._made[name] = made
        self._show(name)
        made.changed.connect(lambda value: self.set(**{name: field.read(value)}))
        box: QWidget = made.native
        box.setToolTip(field.setting.tip)
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.installEventFilter(self)
        return narrow(box) if isinstance(box, QComboBox) else box

    def set_titles(self, name: str, titles: Mapping[Any, str]) -> None:
        """Offer other choices, ``{value: title}``."""
        self._titles[name] = titles
        self._show(name)

    def set(self, **changes: Any) -> None:
        """Set fields; if a value is refused, say why and show the old one again."""
        try:
            self._session.view.settings = replace(self._session.view.settings, **changes)
        except InputError as error:
            self.show_set()
            self.said.emit(str(error), True)

    def show_set(self) -> None:
        """Show the values of the settings."""
        for name in self._made:
            self._show(name)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the scroll area unless the box has the focus."""
        wheel = event.type() == QEvent.Type.Wheel
        if wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False

    def _show(self, name: str) -> None:
        made, value = self._made[name], getattr(self._session.view.settings, name)
        with made.changed.blocked():
            if isinstance(made, CategoricalWidget):
                made.reset_choices()
            elif value is None:
                return
            elif isinstance(made, RangedWidget):
                _make_room(made, value)
            made.value = value

    def _choice(self, name: str) -> ValueWidget[Any]:
        made = create_widget(
            name=name,
            widget_type="ComboBox",
            options={"choices": lambda _: self._choices(name)},
        )
        # None is a value like any other here, so choosing it must emit a signal too.
        made.null_value = Undefined  # type: ignore[attr-defined]
        return cast("ValueWidget[Any]", made)

    def _choices(self, name: str) -> list[tuple[str, Any]]:
        """Titles and values of a box, always including the present value."""
        value = getattr(self._session.view.settings, name)
        titles = {value: str(value)} | dict(self._titles[name])
        return [(titles[each], each) for each in dict.fromkeys([*self._titles[name], value])]


def _plain_control(field: Described) -> ValueWidget[Any]:
    """Make the control of a field without choices, such as a number box."""
    if field.kind not in (int, float):
        made = create_widget(annotation=field.kind, name=field.name, label=" ")
        return cast("ValueWidget[Any]", made)
    setting, whole = field.setting, field.kind is int
    low, high = setting.shown or (setting.least, setting.most)
    made = RangedWidget(widget_type=_number_box(), name=field.name, step=setting.step)
    made.native.setDecimals(0 if whole else setting.decimals)
    made.native.setGroupSeparatorShown(whole)
    made.native.setKeyboardTracking(False)
    made.min, made.max = low or 0, _MOST if high is None else high
    return made


def _make_room(made: RangedWidget[Any], value: float) -> None:
    """Extend the range of a box to a value set by a file or the command line."""
    exponent = Decimal(str(value)).as_tuple().exponent
    if isinstance(exponent, int):
        made.native.setDecimals(max(made.native.decimals(), min(-exponent, _MOST_DECIMALS)))
    made.min, made.max = min(made.min, value), max(made.max, value)


@cache
def _number_box() -> type[Any]:
    """Make the number box of magicgui with our own Qt widget inside.

    Qt's widget shows trailing zeros, and whole numbers without thousands separators. Its box for
    whole numbers ends at 2 147 483 647, but seeds can be larger.
    """
    base = use_app().get_obj("FloatSpinBox")

    def make(self: Any, **kwargs: Any) -> None:
        super(base, self).__init__(DecimalBox, **kwargs)

    return type("NumberBox", (base,), {"__init__": make})


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
    """Put widgets in a row; ``None`` takes the remaining space."""
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
    """A scroll area as high as its content, or lower if there is no room.

    Parameters
    ----------
    content
        The widget inside.
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
        """Return a width that needs no horizontal scrolling."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self.widget().minimumSizeHint().width() + bar, self.minimumHeight())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the content when a part of it is opened or closed."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))
