"""What sections of settings are made of: fields with units and limits; unknown keys are refused everywhere."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def listed(value: Any) -> Any:
    """One value may stand for a list of it."""
    return value if isinstance(value, list | tuple) else [value]


def automatic(value: Any) -> Any:
    """``auto`` is another word for nothing given."""
    return None if value == "auto" else value


def Quantity(default: Any, unit: str, description: str, **limits: Any) -> Any:
    """A field with a unit; the unit goes into the table of settings and into error messages."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


class Section(BaseModel):
    """A group of settings: unknown keys refused, values fixed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _ascending(values: list[float]) -> list[float]:
    if sorted(set(values)) != list(values):
        raise ValueError("must be listed in ascending order without repeats")
    return values


T = TypeVar("T")
Ascending = Annotated[list[T], BeforeValidator(listed), AfterValidator(_ascending)]
Energy = Annotated[float, Field(ge=20e3, le=1e6)]
Semiangle = Annotated[float, Field(ge=0.05, le=50)]
Depth = Annotated[float, Field(gt=0, le=20000)]
Fraction = Annotated[float, Field(ge=0, le=0.9)]
